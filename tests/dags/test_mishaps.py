"""Files that break whoever reads them: counted, put aside in the end, and no trouble for the others."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from appliance import pipeline, splitting, trouble
from appliance.errors import DiskTrouble, StoreAway
from appliance.settings import Settings
from appliance.store import ledger
from tests.dags.conftest import ROOT, environment_of
from tests.road.conftest import Road

Breaking = Callable[[BaseException | None], None]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Breaking:
    """Have reading files whose name begins with ``poison`` end in an error; None: read them again."""
    original = splitting.split
    now: list[BaseException | None] = [None]

    def split(settings: Any, profile: Any, arrival: Any, claimed: Any, places: Any) -> Any:
        if claimed.name.startswith("poison") and now[0] is not None:
            # Half of its work was done when it broke.
            original(settings, profile, arrival, claimed, places)
            raise now[0]
        return original(settings, profile, arrival, claimed, places)

    def set_error(error: BaseException | None) -> None:
        now[0] = error

    monkeypatch.setattr(splitting, "split", split)
    return set_error


def tries(road: Road) -> list[int]:
    return [row["tries"] for row in road.rows("SELECT tries FROM arrival WHERE name LIKE 'poison%' ORDER BY id")]


def outputs(road: Road) -> list[str]:
    folders = (road.settings.good, road.settings.bad)
    return sorted(
        p.name for folder in folders for p in folder.rglob("*") if p.is_file() and "quarantine" not in p.parts
    )


PANIC = pl.exceptions.PanicException("index out of bounds")


@pytest.mark.parametrize("error", [ZeroDivisionError("nobody foresaw it"), MemoryError(), PANIC], ids=type)
def test_the_others_go_on_and_the_poison_ends_in_quarantine(
    road: Road, mill: bytes, breaking: Breaking, error: BaseException
) -> None:
    breaking(error)
    road.drop("milling", "poison.csv", mill, "mill-1")
    for number in range(1, road.settings.file_tries):
        road.drop("milling", f"{number}.csv", mill + b"\n" * number, "mill-1")
        done = road.ingest()
        assert (done.files, done.broken, done.quarantined) == (1, 1, 0)
        assert "poison.csv" in done.sentence()
        assert tries(road) == [number]
        assert len(outputs(road)) == number, "nothing of a file that was not committed stays"
    done = road.ingest()
    assert (done.broken, done.quarantined) == (0, 1)
    [file] = road.rows("SELECT * FROM file WHERE state = 'quarantined'")
    assert (file["reason"], file["criticality"]) == ("poisonous", "high")
    assert f"{road.settings.file_tries} passes broke off over the file" in file["sentence"]
    assert (road.settings.data_dir / file["quarantine_path"]).read_bytes() == mill
    page = (road.settings.data_dir / file["report_path"]).read_text()
    assert "The file was not read" in page
    assert type(error).__name__ in page
    events = road.rows("SELECT kind, severity, details FROM event ORDER BY id")
    assert [(event["kind"], event["severity"]) for event in events] == [
        ("file_broke_off", "warning"),
        ("file_given_up", "error"),
    ]
    assert events[1]["details"]["file_id"] == file["id"]
    assert road.waiting() == []
    assert road.broken_promises() == []
    assert {row["outcome"] for row in road.rows("SELECT outcome FROM run")} == {"done"}
    # Dropped again it is judged again: it may have been the box after all.
    breaking(None)
    road.drop("milling", "poison.csv", mill, "mill-1")
    assert road.ingest().files == 1


def test_a_file_that_recovers_is_taken(road: Road, mill: bytes, breaking: Breaking) -> None:
    road.drop("milling", "poison.csv", mill, "mill-1")
    breaking(ZeroDivisionError())
    for _ in range(road.settings.file_tries - 1):
        road.ingest()
    breaking(None)
    assert road.ingest().files == 1
    assert road.broken_promises() == []


DIE = """
import os, signal
from appliance import pipeline, settings, splitting
splitting.split = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
pipeline.ingest(pipeline.open_box(settings.load()))
"""


def test_a_file_that_takes_the_process_along_is_put_aside_unread(road: Road, mill: bytes) -> None:
    settings = road.settings.model_copy(update={"file_tries": 2})
    road.drop("milling", "poison.csv", mill, "mill-1")
    for number in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", DIE], env=environment_of(settings, settings), cwd=ROOT, check=False
        )
        assert done.returncode == -9
        assert tries(road) == [number]
    done = pipeline.ingest(pipeline.Box(settings, road.engine))
    assert (done.quarantined, done.broken) == (1, 0)
    [file] = road.rows("SELECT reason, sentence FROM file")
    assert file["reason"] == "poisonous"
    assert "the process ended each time" in file["sentence"]
    killed = road.rows("SELECT outcome FROM run ORDER BY id")
    assert [row["outcome"] for row in killed] == ["failed", "failed", "done"]
    assert road.broken_promises() == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        DiskTrouble("The disk is full.", "Free some."),
    ],
    ids=["full", "full in polars", "broken disk", "rights", "told"],
)
def test_trouble_of_the_box_ends_the_pass_and_is_not_counted(
    road: Road, mill: bytes, breaking: Breaking, error: Exception
) -> None:
    road.drop("milling", "poison.csv", mill, "mill-1")
    breaking(error)
    for _ in range(road.settings.file_tries + 1):
        with pytest.raises(DiskTrouble):
            road.ingest()
        assert tries(road) == [0]
    assert [event["kind"] for event in road.rows("SELECT kind FROM event")] == ["run_failed"]
    breaking(None)
    assert road.ingest().files == 1
    assert [event["kind"] for event in road.rows("SELECT kind FROM event ORDER BY id")] == [
        "run_failed",
        "run_recovered",
    ]


def test_a_database_that_went_away_for_a_moment_is_not_counted(
    road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.drop("milling", "poison.csv", mill, "mill-1")

    def away(*_: object) -> None:
        raise StoreAway("PostgreSQL cannot be reached.", "")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "ingested", away)
        with pytest.raises(StoreAway):
            road.ingest()
    assert tries(road) == [0]
    assert road.ingest().files == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)], ids=type)
def test_a_stop_from_outside_ends_the_pass(road: Road, mill: bytes, breaking: Breaking, stop: BaseException) -> None:
    road.drop("milling", "poison.csv", mill, "mill-1")
    breaking(stop)
    with pytest.raises(type(stop)):
        road.ingest()
    [run] = road.rows("SELECT outcome, why FROM run")
    assert (run["outcome"], "stopped" in run["why"] or type(stop).__name__ in run["why"]) == ("failed", True)
    breaking(None)
    assert road.ingest().files == 1


def test_what_breaks_off_before_it_is_claimed_is_told_once_and_stops_no_other(
    road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance import intake

    road.drop("milling", "poison.csv", mill, "mill-1")
    road.drop("milling", "a.csv", mill + b"\n", "mill-1")
    original = intake.claim

    def claim(look: Any, *more: Any) -> Any:
        if look.path.name == "poison.csv":
            raise RuntimeError(f"at {id(look)}")
        return original(look, *more)

    monkeypatch.setattr(intake, "claim", claim)
    assert (road.ingest().files, road.ingest().broken) == (1, 1)
    road.ingest()
    assert [event["kind"] for event in road.rows("SELECT kind FROM event")] == ["file_broke_off"]
    assert road.waiting() == ["poison.csv"]


def test_a_drop_folder_without_the_right_to_remove_stops_no_other(
    road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may not be removed comes again every minute; the files behind it are taken all the same."""
    import os

    road.drop("milling", "stuck.csv", mill, "mill-1")
    original = os.rename

    def rename(source: Any, target: Any, **more: Any) -> None:
        if str(source) == "stuck.csv":
            raise PermissionError(errno.EACCES, "Permission denied")
        original(source, target, **more)

    monkeypatch.setattr(os, "rename", rename)
    for number in (1, 2):
        road.drop("milling", f"{number}.csv", mill + b"\n" * number, "mill-1")
        done = road.ingest()
        assert done.broken == 1
        assert "may not be removed" in done.sentence()
    assert road.rows("SELECT count(*) AS files FROM file") == [{"files": 3}]
    assert road.waiting() == ["stuck.csv"]
    assert road.broken_promises() == []


def test_a_number_in_the_sentence_of_a_library_is_understood() -> None:
    assert trouble.of_box(ValueError("wrote half (os error 122)")) is not None
    for other in (ValueError("(os error x)"), ValueError("os error 28"), FileNotFoundError(errno.ENOENT, "gone")):
        assert trouble.of_box(other) is None


def test_the_setting_decides(road: Road, mill: bytes, breaking: Breaking) -> None:
    once = Settings(**(road.settings.model_dump() | {"file_tries": 1}))
    road.drop("milling", "poison.csv", mill, "mill-1")
    breaking(ZeroDivisionError())
    assert pipeline.ingest(pipeline.Box(once, road.engine)).quarantined == 1
