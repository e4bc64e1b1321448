from __future__ import annotations

from pathlib import Path

import pytest

from appliance import settings
from appliance.cli import settings_page
from appliance.errors import SettingError
from appliance.settings import Settings


def test_the_environment_is_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text('site = "north"\napi_port = 9000\n')
    monkeypatch.setenv("APPLIANCE_CONFIG", str(file))
    monkeypatch.setenv("APPLIANCE_API_PORT", "9100")
    loaded = settings.load()
    assert (loaded.site, loaded.api_port) == ("north", 9100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("api_prot = 9000", "There is no setting 'api_prot'"),
        ("api_port = 99999", "Setting 'api_port'"),
        ("api_port =", "is no TOML"),
        ('timezone = "Mars/North"', "no time zone"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(text + "\n")
    monkeypatch.setenv("APPLIANCE_CONFIG", str(file))
    with pytest.raises(SettingError, match=said) as caught:
        settings.load()
    assert "\n" not in str(caught.value)


def test_a_missing_settings_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(SettingError, match=r"absent\.toml"):
        settings.load()


def test_a_secret_is_not_shown() -> None:
    assert "hush" not in repr(Settings(dsn="postgresql://u:hush@/x"))


def test_the_page_of_settings_is_up_to_date() -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert text == settings_page.page(), "run make generate"
    assert all(field.description for field in Settings.model_fields.values())
