"""The command as a user types it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from appliance.cli.sync import days
from appliance.errors import UsageError
from tests.cli.test_commands import Command, command
from tests.sync.conftest import Stage
from tests.sync.proxy import Proxy
from tests.sync.stores import KEYS

__all__ = ["command"]


@pytest.fixture
def copying(command: Command, stage: Stage, dsn: str) -> Command:
    """The command, with the settings of the stage."""
    settings = stage.settings
    command.environment |= {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": dsn,
        "APPLIANCE_SITE": settings.site,
        "APPLIANCE_S3_BUCKET": str(settings.s3_bucket),
        "APPLIANCE_S3_ENDPOINT": str(settings.s3_endpoint),
        "APPLIANCE_S3_KEYS": KEYS,
    }
    return command


def test_without_a_bucket_it_says_so_and_is_content(command: Command) -> None:
    assert command("sync").stdout == "No bucket is set: nothing leaves this box.\n"
    assert json.loads(command("sync", "--once", "--json").stdout) == {"bucket": None}


def test_a_pass_and_the_days_again(copying: Command, stage: Stage) -> None:
    stage.file(b"good", b"bad")
    told = json.loads(copying("sync", "--once", "--json").stdout)
    assert (told["sent"], told["left"], told["errors"]) == (2, 0, [])
    assert "Nothing waits" in copying("sync").stdout
    again = copying("sync", "--again", "all")
    assert "2 objects are looked at again." in again.stderr
    assert "2 objects with 7 bytes" in again.stdout
    assert stage.is_exact


@pytest.mark.parametrize("said", ["yesterday", "2026-11-31", "2026-11-02..2026-11-01", "..2026-11-01", ""])
def test_a_wrong_range_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        days(said)


@pytest.mark.parametrize(
    ("said", "first", "last"),
    [
        ("2026-11-01", date(2026, 11, 1), date(2026, 11, 1)),
        ("2026-11-01..2026-11-07", date(2026, 11, 1), date(2026, 11, 7)),
        ("all", date.min, date.max),
    ],
)
def test_ranges_are_days_with_both_ends(said: str, first: date, last: date) -> None:
    assert days(said) == (first, last)


def test_a_wrong_range_is_one_sentence(copying: Command) -> None:
    assert copying("sync", "--again", "yesterday", code=2).stderr.count("\n") == 1


def test_trouble_is_one_sentence_and_exit_1(copying: Command, stage: Stage, proxy: Proxy) -> None:
    stage.file()
    proxy.mood = "revoked"
    said = copying("sync", "--once", code=1).stderr
    assert said.startswith("appliance: The store refuses these keys (InvalidAccessKeyId).")
    assert said.count("\n") == 1
    assert "not-a-secret" not in said


def test_what_waits_for_long_is_found_by_the_doctor_and_told_by_status(copying: Command, stage: Stage) -> None:
    stage.file()
    stage.change(
        "INSERT INTO outbox (layer, profile_id, file_id, day, path, created_at)"
        " SELECT 'good', profile_id, id, day, good_path, clock_timestamp() - interval '3 days' FROM file"
    )
    faults = json.loads(copying("doctor", "--json", code=1).stdout)["faults"]
    (found,) = [fault for fault in faults if fault["name"] == "bucket"]
    assert found["sentence"] == "1 object waits for the bucket, the oldest for 3 days."
    stage.change("UPDATE outbox SET size = 3 << 20")
    assert "1 wait with 3 MiB" in copying("status").stdout
    copying("sync")
    faults = json.loads(copying("doctor", "--json", code=1).stdout)["faults"]
    assert [fault for fault in faults if fault["name"] == "bucket"] == []


def test_a_disk_that_is_full_within_a_week_is_told_by_doctor_and_status(copying: Command, stage: Stage) -> None:
    assert "full in" not in copying("status").stdout
    stage.change(
        "INSERT INTO metric (at, name, value) SELECT clock_timestamp() - make_interval(days => d),"
        " 'box_disk_free_bytes', 5e9 + d * 1e9 FROM generate_series(0, 4) AS d"
    )
    faults = json.loads(copying("doctor", "--json", code=1).stdout)["faults"]
    (found,) = [fault for fault in faults if fault["name"] == "lasts"]
    assert found["sentence"] == "At the pace of the last week the disk is full in 5 days."
    assert "full in 5 days at the last week's pace" in copying("status").stdout


def test_nobody_watches_and_ends(copying: Command) -> None:
    assert "ends never" in copying("sync", "--watch", "--once", code=2).stderr
