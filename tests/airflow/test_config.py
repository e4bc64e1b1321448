"""One environment for all of Airflow's processes: what it says, and what it must never say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from appliance.airflow import config, secrets
from appliance.errors import SettingError
from appliance.settings import Settings
from tests.airflow.conftest import settings_of

OURS = "postgresql://plant@/appliance?host=%2Frun%2Fpostgresql"


@pytest.fixture
def box(tmp_path: Path) -> Settings:
    made = settings_of(tmp_path, OURS)
    secrets.make(made)
    return made


def test_every_option_is_one_that_this_airflow_knows(box: Settings) -> None:
    found = importlib.util.find_spec("airflow")
    assert found is not None
    assert found.origin is not None
    known = yaml.safe_load((Path(found.origin).parent / "config_templates" / "config.yml").read_text())
    options = {f"AIRFLOW__{s.upper()}__{o.upper()}" for s, section in known.items() for o in section["options"] or {}}
    said = {name for name in config.environment(box, {}) if name.startswith("AIRFLOW__")}
    assert said
    assert said <= options


def test_the_rest_of_the_environment_is_kept_and_ours_stands_above_it(box: Settings) -> None:
    base = {
        "PATH": "/bin",
        "APPLIANCE_CONFIG": "/etc/x.toml",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW_CONFIG": "/etc/airflow.cfg",
        "AIRFLOW__EMAIL__FROM_EMAIL": "box@example.com",
    }
    made = config.environment(box, base)
    assert {made["PATH"], made["APPLIANCE_CONFIG"]} == {"/bin", "/etc/x.toml"}
    assert made["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert made["AIRFLOW_CONFIG"] == str(box.airflow / "airflow.cfg")
    assert made["AIRFLOW__EMAIL__FROM_EMAIL"] == "box@example.com"


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "*.example.com"}, {"no_proxy": "a, b", "NO_PROXY": "b,c"}])
def test_a_proxy_never_catches_calls_within_the_box(box: Settings, given: dict[str, str]) -> None:
    made = config.environment(box.model_copy(update={"airflow_host": "192.0.2.7"}), given)
    assert made["NO_PROXY"] == made["no_proxy"]
    spared = made["NO_PROXY"].split(",")
    assert {"127.0.0.1", "localhost", "::1", "192.0.2.7"} <= set(spared)
    assert {word.strip() for text in given.values() for word in text.split(",")} <= set(spared)
    assert len(spared) == len(set(spared))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # listens everywhere, and is found on loopback
        ("::", "http://[::1]:8080"),
        ("2001:db8::7", "http://[2001:db8::7]:8080"),
    ],
)
def test_tasks_find_the_api_server_wherever_it_listens(box: Settings, host: str, url: str) -> None:
    made = config.environment(box.model_copy(update={"airflow_host": host}), {})
    assert made["AIRFLOW__API__HOST"] == host
    assert made["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{url}/execution/"


def test_the_dags_are_those_that_are_installed(box: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dags").mkdir()
    monkeypatch.chdir(tmp_path)
    folder = Path(config.environment(box, {})["AIRFLOW__CORE__DAGS_FOLDER"])
    assert (folder / "ingest.py").is_file()


@pytest.mark.parametrize(
    ("ours", "airflow"),
    [
        (OURS, "postgresql+psycopg2://plant@/airflow?host=%2Frun%2Fpostgresql"),
        ("postgresql:///appliance?host=/run", "postgresql+psycopg2:///airflow?host=/run"),
        ("postgresql://u:p%40ss@db.example.com:6432/x", "postgresql+psycopg2://u:p%40ss@db.example.com:6432/airflow"),
        ("postgres://u:a/b?c@h/x?sslmode=require", "postgresql+psycopg2://u:a/b?c@h/airflow?sslmode=require"),
        ("postgresql+psycopg2://u:pa$$HOME@h/x", "postgresql+psycopg2://u:pa%24%24HOME@h/airflow"),
    ],
)
def test_its_database_is_another_one_on_the_same_server(tmp_path: Path, ours: str, airflow: str) -> None:
    assert config.dsn(settings_of(tmp_path, ours)) == airflow


@given(
    user=st.text("abcXYZ_09", min_size=1),
    password=st.none()
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="@"), min_size=1),
    host=st.sampled_from(["", "db.example.com", "127.0.0.1:5433"]),
    query=st.sampled_from(["", "?host=/run/postgresql", "?sslmode=require&connect_timeout=3"]),
)
def test_whatever_sqlalchemy_reads_is_read_alike(user: str, password: str | None, host: str, query: str) -> None:
    given = f"postgresql://{user}{'' if password is None else ':' + password}@{host}/ours{query}"
    made = make_url(config.dsn(Settings(dsn=given)))  # type: ignore[arg-type]
    wanted = make_url(given)
    assert made.database == "airflow"
    assert (made.username, made.password, made.host, made.port, made.query) == (
        wanted.username, wanted.password, wanted.host, wanted.port, wanted.query,
    )  # fmt: skip


def test_both_drivers_are_given_the_same_database(box: Settings) -> None:
    made = config.environment(box.model_copy(update={"airflow_dsn": None}), {})
    one, other = (made[f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN{name}"] for name in ("", "_ASYNC"))
    assert make_url(one).set(drivername="x") == make_url(other).set(drivername="x")


@pytest.mark.parametrize("name", ["dsn", "airflow_dsn"])
def test_a_wrong_address_is_refused_by_its_name_and_not_repeated(tmp_path: Path, name: str) -> None:
    wrong = {"dsn": OURS} | {name: "mysql://u:hush@h/x"}
    with pytest.raises(SettingError, match=f"'{name}' is no PostgreSQL address") as caught:
        config.dsn(Settings(data_dir=tmp_path, **wrong))  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("given", [{"dsn": OURS, "airflow_dsn": OURS}, {"dsn": OURS.replace("/appliance", "/airflow")}])
def test_it_never_shares_the_appliances_database(given: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="one of its own"):
        config.dsn(Settings(**given))  # type: ignore[arg-type]


def test_without_any_database_the_way_out_is_told() -> None:
    with pytest.raises(SettingError, match="appliance demo"):
        config.dsn(Settings())
