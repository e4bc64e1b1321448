"""What is said of the log of changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from appliance.checks import Context, archive
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import standing
from appliance.store.standing import Archiving

ROLE = Path(__file__).parents[2] / "ansible" / "roles" / "postgres"


@pytest.fixture
def said(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    def of(found: Archiving | None, *, gap: bool = False) -> list[str]:
        monkeypatch.setattr(standing, "archiving", lambda _: found)
        monkeypatch.setattr(archive, "GAP", tmp_path if gap else tmp_path / "none")
        return [fault.sentence for fault in archive.check(Context(Settings(), engine, None, datetime.now(UTC)))]

    return of


def test_a_log_that_is_not_copied_is_nobody_s_business(engine: Engine) -> None:
    with engines.transaction(engine) as connection:
        assert standing.archiving(connection) is None


def test_one_that_fails_for_long_and_one_with_a_gap_are_said(said: object) -> None:
    assert callable(said)
    hour = timedelta(hours=1)
    assert said(None, gap=True) == []
    assert said(Archiving(failing=False, idle=hour)) == [], "on a quiet night little is written"
    assert said(Archiving(failing=True, idle=timedelta(minutes=6))) == []
    assert said(Archiving(failing=True, idle=hour)) == [
        "The log of changes was not copied for 1 hour; it waits on this box."
    ]
    assert "has a gap" in said(Archiving(failing=False, idle=hour), gap=True)[0]


def test_check_and_role_mean_the_same_file() -> None:
    assert f"postgres_archive_gap: {archive.GAP}\n" in (ROLE / "vars" / "main.yml").read_text()
