"""Secrets that are made once, kept to their owner, and never replaced."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.airflow import config, secrets
from appliance.errors import SettingError
from appliance.settings import Settings

DSN = "postgresql://plant@/appliance"
NAMES = ["fernet_key", "jwt_secret", "secret_key"]


@pytest.fixture
def box(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, dsn=DSN)  # type: ignore[arg-type]


def contents(box: Settings) -> dict[str, str]:
    return {path.name: path.read_text() for path in secrets.folder(box).iterdir()}


def test_they_are_made_once_and_for_their_owner_alone(box: Settings) -> None:
    assert secrets.make(box) == NAMES
    assert secrets.make_password(box)
    before = contents(box)
    assert len(set(before.values())) == 4
    assert stat.S_IMODE(secrets.folder(box).stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.folder(box).iterdir()} == {0o600}
    assert secrets.make(box) == []
    assert not secrets.make_password(box)
    assert contents(box) == before


def test_one_that_is_lost_is_made_again_and_the_others_stay(box: Settings) -> None:
    secrets.make(box)
    before = contents(box)
    (secrets.folder(box) / "jwt_secret").unlink()
    assert secrets.make(box) == ["jwt_secret"]
    after = contents(box)
    assert {name for name in NAMES if after[name] != before[name]} == {"jwt_secret"}


def test_two_that_set_up_at_once_agree(box: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: secrets.make(box), range(16)))
    assert sorted(name for names in made for name in names) == NAMES
    assert set(contents(box)) == set(NAMES)


def test_those_of_the_settings_are_above_files_and_make_none(tmp_path: Path) -> None:
    key = base64.urlsafe_b64encode(bytes(32)).decode()
    given = {"airflow_fernet_key": key, "airflow_jwt_secret": "j" * 40, "airflow_secret_key": "s" * 40}
    box = Settings(data_dir=tmp_path, dsn=DSN, **given)  # type: ignore[arg-type]
    assert secrets.make(box) == []
    keys = secrets.read(box)
    assert (keys.fernet_key, keys.jwt_secret, keys.secret_key) == (key, "j" * 40, "s" * 40)
    assert config.environment(box, {})["AIRFLOW__CORE__FERNET_KEY"] == key


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_one_names_the_command_that_makes_it(box: Settings, name: str) -> None:
    secrets.make(box)
    (secrets.folder(box) / name).unlink()
    with pytest.raises(SettingError, match=rf"{name} is missing\. Run `appliance airflow init`\."):
        config.environment(box, {})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_one_that_others_can_open_is_refused(box: Settings, mode: int) -> None:
    secrets.make(box)
    (secrets.folder(box) / "jwt_secret").chmod(mode)
    with pytest.raises(SettingError, match=rf"open to others \(mode {mode:04o}\).*chmod 600"):
        secrets.read(box)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fernet_key", "x" * 44 + "=" * 7),
        ("fernet_key", base64.urlsafe_b64encode(bytes(16)).decode()),
        ("jwt_secret", "short"),
        ("secret_key", "$HOME" * 10),
        ("secret_key", "~" * 40),
    ],
)
def test_one_that_is_no_good_is_refused_and_not_repeated(tmp_path: Path, name: str, value: str) -> None:
    box = Settings(data_dir=tmp_path, dsn=DSN, **{f"airflow_{name}": value})  # type: ignore[arg-type]
    secrets.make(box)
    with pytest.raises(SettingError, match=name) as caught:
        secrets.read(box)
    assert value not in str(caught.value)


def test_an_empty_file_is_no_secret(box: Settings) -> None:
    secrets.make(box)
    (secrets.folder(box) / "secret_key").write_text("\n")
    with pytest.raises(SettingError, match="is empty"):
        secrets.read(box)


def test_keys_do_not_show_in_what_is_printed(box: Settings) -> None:
    secrets.make(box)
    keys = secrets.read(box)
    assert keys.jwt_secret not in repr(keys)
    assert keys.jwt_secret not in str([keys])


def test_another_password_replaces_the_one_before(box: Settings) -> None:
    secrets.make_password(box)
    before = secrets.read_password(box)
    secrets.renew_password(box)
    assert len(secrets.read_password(box)) == len(before)
    assert secrets.read_password(box) != before
    assert stat.S_IMODE(secrets.password_file(box).stat().st_mode) == 0o600
