"""Runs in the book: each has an end, the dead are told from the living, and a failure is told once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from appliance import pipeline, runs
from appliance.errors import ApiAway, Conflict, DiskTrouble, SettingError, StoreAway
from appliance.store import engine as engines
from appliance.store import runs as book
from tests import counts
from tests.dags.conftest import ROOT
from tests.road.conftest import Road


def rows(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engines.transaction(engine) as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def fails(engine: Engine, error: BaseException, **more: Any) -> None:
    with pytest.raises(type(error)), runs.recorded(engine, "ingest", dict, **more):
        raise error


def works(engine: Engine, **more: Any) -> None:
    with runs.recorded(engine, "ingest", dict, **more):
        pass


def test_a_run_is_in_the_book_from_its_beginning(engine: Engine) -> None:
    counts: dict[str, Any] = {}
    with runs.recorded(engine, "ingest", lambda: counts) as run:
        [begun] = rows(engine, "SELECT * FROM run")
        assert (begun["id"], begun["finished_at"], begun["outcome"]) == (run.id, None, None)
        counts["files"] = 3
    [ended] = rows(engine, "SELECT * FROM run")
    assert (ended["outcome"], ended["why"], ended["counts"]) == ("done", None, {"files": 3})
    assert ended["finished_at"] >= ended["started_at"]


def test_what_a_run_says_of_itself_is_kept(engine: Engine) -> None:
    with runs.recorded(engine, "ingest", lambda: {"files": 0}) as run:
        run.skip("no new files")
    with runs.recorded(engine, "predict", lambda: {"failed": 1}) as run:
        run.fail("part 1 of a.csv: no.")
    assert rows(engine, "SELECT outcome, why, counts FROM run ORDER BY id") == [
        {"outcome": "skipped", "why": "no new files", "counts": {}},
        {"outcome": "failed", "why": "part 1 of a.csv: no.", "counts": {"failed": 1}},
    ]
    assert rows(engine, "SELECT * FROM event") == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (SettingError("The key is none.", "Mend it."), "The key is none. Mend it."),
        (ZeroDivisionError("division\nby zero"), "ZeroDivisionError: division by zero"),
        (ValueError(), "ValueError"),
        (KeyboardInterrupt(), "It was stopped (KeyboardInterrupt)."),
    ],
)
def test_what_breaks_a_run_off_is_its_reason(engine: Engine, error: BaseException, why: str) -> None:
    with pytest.raises(type(error)), runs.recorded(engine, "ingest", lambda: {"files": 1}):
        raise error
    assert rows(engine, "SELECT outcome, why, counts FROM run") == [
        {"outcome": "failed", "why": why, "counts": {"files": 1}}
    ]


def test_a_night_of_the_same_failure_is_told_once_and_so_is_its_end(engine: Engine) -> None:
    for _ in range(5):
        fails(engine, DiskTrouble("The disk is full.", "Free some space."))
    works(engine)
    works(engine)
    fails(engine, ValueError("again"))
    told = rows(engine, "SELECT kind, severity, message, details ->> 'run' AS run FROM event ORDER BY id")
    assert [(event["kind"], event["severity"], event["run"]) for event in told] == [
        ("run_failed", "error", "ingest"),
        ("run_recovered", "info", "ingest"),
        ("run_failed", "error", "ingest"),
    ]
    assert told[0]["message"] == "Taking files in fails: The disk is full. Free some space."
    assert len(rows(engine, "SELECT * FROM notice WHERE kind = 'event'")) == 2


@pytest.mark.parametrize("error", [ApiAway("No API.", ""), StoreAway("", ""), Conflict("Held.", ""), SystemExit()])
def test_what_may_pass_is_told_when_it_lasts(engine: Engine, error: BaseException) -> None:
    for _ in range(2):
        fails(engine, error)
    works(engine)
    for number in range(4):
        assert len(rows(engine, "SELECT * FROM event")) == (number > 2)
        fails(engine, error)
        with runs.recorded(engine, "ingest", dict) as run:
            run.skip("nothing to do, which proves nothing")
    assert [event["kind"] for event in rows(engine, "SELECT kind FROM event")] == ["run_failed"]


def test_kinds_and_steps_fail_for_themselves(engine: Engine) -> None:
    fails(engine, ValueError("x"))
    for step in ("one", "two"):
        with pytest.raises(ValueError, match="y"), runs.recorded(engine, "maintain", dict, step=step):
            raise ValueError("y")
    with runs.recorded(engine, "maintain", dict, step="one"):
        pass
    with runs.recorded(engine, "predict", dict):
        pass
    with engines.transaction(engine) as connection:
        failing = {step: book.is_failing(connection, "maintain", step) for step in ("one", "two")}
        assert failing == {"one": False, "two": True}
        assert book.is_failing(connection, "ingest", "")
        assert not book.is_failing(connection, "predict", "")


DIE = """
import os, signal, sys
from pathlib import Path
from appliance import runs
from appliance.store import engine
with runs.recorded(engine.connect(sys.argv[1]), sys.argv[2], dict, signs=Path(sys.argv[3]) if sys.argv[3] else None):
    print("begun", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def begun(dsn: str, kind: str, signs: Path | str = "") -> subprocess.Popen[bytes]:
    """A run in a process of its own, which dies when its input ends."""
    command = [sys.executable, "-c", DIE, dsn, kind, str(signs)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def test_a_killed_run_is_closed_by_the_next_of_its_kind(engine: Engine, dsn: str) -> None:
    begun(dsn, "ingest").communicate()
    with runs.recorded(engine, "predict", dict):
        pass
    assert rows(engine, "SELECT outcome FROM run WHERE kind = 'ingest'") == [{"outcome": None}]
    works(engine)
    assert rows(engine, "SELECT outcome, why FROM run WHERE kind = 'ingest' ORDER BY id") == [
        {"outcome": "failed", "why": runs.KILLED},
        {"outcome": "done", "why": None},
    ]


def test_a_living_run_is_not_taken_for_a_dead_one(engine: Engine, dsn: str, tmp_path: Path) -> None:
    alive = begun(dsn, "predict", tmp_path)
    with runs.recorded(engine, "predict", dict, signs=tmp_path):
        pass
    assert [row["outcome"] for row in rows(engine, "SELECT outcome FROM run ORDER BY id")] == [None, "done"]
    # The one that is alive beside us does not take us for dead either.
    with runs.recorded(engine, "predict", dict, signs=tmp_path):
        alive.communicate()
        with runs.recorded(engine, "predict", dict, signs=tmp_path):
            pass
        assert len(rows(engine, "SELECT * FROM run WHERE outcome IS NULL")) == 2
    with runs.recorded(engine, "predict", dict, signs=tmp_path):
        pass
    assert [row["outcome"] for row in rows(engine, "SELECT outcome FROM run ORDER BY id")] == [
        *("failed", "done", "done", "done", "done")
    ]


def test_without_the_database_the_first_error_is_the_one_to_tell(engine: Engine, tmp_path: Path) -> None:
    away = engines.connect(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(StoreAway):
        works(away)

    def unwritable() -> dict[str, Any]:
        raise TypeError("counts that cannot be counted")

    with pytest.raises(ZeroDivisionError), runs.recorded(engine, "ingest", unwritable):
        raise ZeroDivisionError


OUTCOMES = st.lists(st.sampled_from(["done", "failed", "skipped", "passing"]), max_size=12)


@given(OUTCOMES)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=counts.examples(25))
def test_failing_and_working_are_told_in_turn(engine: Engine, outcomes: list[str]) -> None:
    """Never twice the same in a row; and whoever reads the last event knows how things stand."""
    with engines.transaction(engine) as connection:
        connection.execute(text("TRUNCATE event, run"))
    for outcome in outcomes:
        match outcome:
            case "failed":
                fails(engine, ValueError("x"))
            case "passing":
                fails(engine, ApiAway("x", ""))
            case "skipped":
                with runs.recorded(engine, "ingest", dict) as run:
                    run.skip("nothing")
            case _:
                works(engine)
    told = [event["kind"] for event in rows(engine, "SELECT kind FROM event ORDER BY id")]
    assert told == [("run_failed", "run_recovered")[n % 2] for n in range(len(told))]
    worked = [outcome for outcome in outcomes if outcome != "skipped"]
    in_a_row = len(worked) - max((n + 1 for n, outcome in enumerate(worked) if outcome == "done"), default=0)
    grave = "failed" in worked[len(worked) - in_a_row :]
    failing = bool(told) and told[-1] == "run_failed"
    assert failing == (in_a_row > 0 and (grave or in_a_row >= runs.PATIENCE))


def test_a_pass_with_a_wrong_key_fails_and_says_so(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    (road.settings.keys / "another.pub").write_text("no key")
    with pytest.raises(SettingError):
        road.ingest()
    [run] = road.rows("SELECT outcome, why FROM run")
    assert run["outcome"] == "failed"
    assert "another.pub" in run["why"]


def test_a_pass_in_turn_leaves_where_another_is_at_it(road: Road, mill: bytes) -> None:
    from appliance import intake

    road.drop("milling", "a.csv", mill, "mill-1")
    with intake.exclusive(road.settings.work):
        assert pipeline.ingest_in_turn(road.box) is None
    assert road.rows("SELECT outcome, why FROM run") == [{"outcome": "skipped", "why": "Another pass is running."}]
    done = pipeline.ingest_in_turn(road.box)
    assert done is not None
    assert (done.files, done.run) == (1, road.rows("SELECT max(id) AS id FROM run")[0]["id"])
