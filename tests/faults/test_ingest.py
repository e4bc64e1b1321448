"""Passes over the drop folder, killed at every call; the next pass leaves what it would have left anyway."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.faults import audit, scenes
from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Journey, Killer, finish, number_of, undisturbed
from tests.faults.failures import Failer
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults


def test_a_pass_is_killed_at_any_call(killer: Killer, dropped: Start) -> None:
    killer.demand_the_same(Journey("a pass over the drop folder", dropped, "ingest"))


def test_calls_of_a_pass_fail(failer: Failer, dropped: Start) -> None:
    failer.demand_the_same(Journey("a pass over the drop folder", dropped, "ingest"))


def test_a_pass_over_mended_rows_is_killed_at_any_call(
    killer: Killer, runners: list[Runner], boxes: Boxes, one_file: Start
) -> None:
    start, box = boxes.keep(one_file)
    assert runners[0].run("ingest_and_predict", box.settings).error == ""
    box.quiet()
    scenes.mended(box.raw, box.bad)
    killer.demand_the_same(Journey("bad rows, mended and dropped again", start, "ingest"))


@pytest.mark.parametrize(
    ("when", "name", "subject"),
    [
        ("before its commit", "sendto", "INSERT INTO file"),
        ("before the original is gone", "unlinkat", ".leaving-"),
    ],
)
def test_the_pass_after_a_killed_one_is_killed_too(
    killer: Killer, runners: list[Runner], boxes: Boxes, one_file: Start, when: str, name: str, subject: str
) -> None:
    with boxes.fresh(one_file) as box:
        calls = runners[0].run("ingest", box.settings).made
    journey = Journey(
        f"a pass after one killed {when}", one_file, "ingest", killed_before=number_of(calls, name, subject)
    )
    killer.demand_the_same(journey)


@pytest.mark.parametrize("subject", ["INSERT INTO file", "UPDATE arrival SET cleared_at"])
def test_a_disk_has_another_number_when_the_box_is_back(
    runners: list[Runner], boxes: Boxes, one_file: Start, subject: str
) -> None:
    """The file is the one that was claimed, and neither abandoned nor a duplicate of itself."""
    journey = Journey("", one_file, "ingest")
    wanted = undisturbed(runners[0], boxes, journey)
    with boxes.fresh(one_file) as box:
        calls = runners[0].run("ingest", box.settings).made
    with boxes.fresh(one_file) as box:
        runners[0].run("ingest", box.settings, kill_at=number_of(calls, "sendto", subject))
        box.quiet()
        with box.looking() as connection:
            connection.execute(text("UPDATE arrival SET device = device + 1"))
        finish(runners[0], box, wanted)


def test_the_original_is_taken_away_after_a_kill(runners: list[Runner], boxes: Boxes, one_file: Start) -> None:
    """Nothing of a file that was never committed stays behind, and all of one that was."""
    with boxes.fresh(one_file) as box:
        calls = runners[0].run("ingest", box.settings).made
    commit = number_of(calls, "sendto", "COMMIT", after=number_of(calls, "sendto", "INSERT INTO file"))
    for kill_at, rows in ((commit, 0), (commit + 1, 5)):
        with boxes.fresh(one_file) as box:
            runners[0].run("ingest", box.settings, kill_at=kill_at)
            box.quiet()
            (box.raw / "milling" / "mill-2" / "partly.csv").unlink()
            assert runners[0].run("ingest_and_predict", box.settings).error == ""
            assert audit.broken(box) == []
            assert audit.tell(box).accounts["rows_in"] == rows
