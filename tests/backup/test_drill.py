"""The restore drill: what it proves, who hears of it, and when that is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance import backup_drill, backup_state
from appliance.backup_drill import Drilled
from appliance.checks import Context, Fault
from appliance.checks import backup as check
from appliance.errors import BackupTrouble
from appliance.store import refill
from tests.backup.conftest import Boxes, Stage


def drill(stage: Stage) -> Drilled:
    with stage.opened() as box:
        return backup_drill.once(box)


def faults(stage: Stage, now: datetime | None = None) -> list[Fault]:
    with stage.opened() as box:
        return check.check(Context(stage.settings, box.engine, None, now or datetime.now(UTC)))


def test_a_good_backup_comes_out_as_it_was(stage: Stage) -> None:
    done = stage.backup()
    drilled = drill(stage)
    assert (drilled.name, drilled.databases) == (done.name, 1)
    assert drilled.rows == done.rows
    ((at, error),) = stage.rows("SELECT drilled_at, drill_error FROM backup")
    assert at is not None
    assert error is None
    assert stage.rows("SELECT drill, good, kept FROM report.backup") == [("good", True, True)]
    with refill.administrator(stage.settings.require_dsn()) as admin:
        assert refill.there(admin, [backup_drill.DATABASE]) == set()
    assert faults(stage) == []


def test_without_a_backup_there_is_nothing_to_drill(stage: Stage) -> None:
    assert drill(stage).sentence() == backup_drill.NONE
    assert stage.rows("SELECT outcome FROM run WHERE kind = 'drill'") == [("skipped",)]


def test_a_failed_drill_is_told_once_and_only_a_good_one_ends_it(stage: Stage, place: Path) -> None:
    done = stage.backup()
    path = place / done.name / "appliance.dump"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    for _ in range(2):
        with pytest.raises(BackupTrouble, match=r"appliance\.dump is not what it was"):
            drill(stage)
    told = "SELECT kind, severity FROM event WHERE kind LIKE 'run_%' ORDER BY id"
    assert stage.rows(told) == [("run_failed", "error")]
    assert stage.rows("SELECT count(*) FROM notice") == [(1,)]
    found = faults(stage)
    assert [(fault.name, fault.severity) for fault in found] == [("backup_drill", "fault")]
    assert "appliance.dump" in found[0].sentence
    assert stage.rows("SELECT drill FROM report.backup") == [("failed",)]
    stage.backup_later()  # a newer backup alone proves nothing
    assert [fault.name for fault in faults(stage)] == ["backup_drill"]
    drill(stage)
    assert stage.rows(told) == [("run_failed", "error"), ("run_recovered", "info")]
    assert faults(stage) == []


def test_what_is_not_backed_up_and_what_is_old_is_said(stage: Stage, boxes: Boxes) -> None:
    assert faults(stage) == [], "the first is due within two days"
    later = datetime.now(UTC) + timedelta(days=3)
    stage.backup()
    drill(stage)
    assert [fault.name for fault in faults(stage, later)] == ["backup_age", "backup_drill"]
    assert [fault.name for fault in faults(stage.having(backup_recipient=None))] == []
    stage.having(backup_recipient=None).backup_later()
    assert [fault.name for fault in faults(stage)] == ["backup_secrets"]
    nowhere = boxes.fresh("nowhere")
    assert faults(nowhere) == []
    assert [fault.name for fault in faults(nowhere.having(schedule="airflow"))] == ["backup"]


def test_a_restore_that_was_broken_off_is_a_fault(stage: Stage) -> None:
    stage.backup()
    drill(stage)
    (stage.settings.backups / backup_state.PLAN).write_text('{"name": "appliance-north-1", "databases": []}')
    assert [(fault.name, fault.severity) for fault in faults(stage)] == [("restore", "fault")]
