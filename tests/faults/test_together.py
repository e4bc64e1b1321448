"""Two of a kind at the same time, one of them standing still with all that it holds, or dying so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance import bundle
from tests.faults import audit
from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Journey, finish, number_of, undisturbed
from tests.faults.conftest import Shelf
from tests.faults.runner import Ended, Runner
from tests.faults.shelves import way_back

pytestmark = pytest.mark.faults

ROUNDS = 8


@pytest.fixture(scope="module")
def wanted(runners: list[Runner], boxes: Boxes, dropped: Start) -> audit.Told:
    return undisturbed(runners[0], boxes, Journey("", dropped, "ingest"))


@pytest.mark.parametrize("dies", [False, True])
def test_a_second_pass_is_turned_away(
    runners: list[Runner], boxes: Boxes, dropped: Start, wanted: audit.Told, dies: bool
) -> None:
    first, second = runners
    with boxes.fresh(dropped) as box:
        at = number_of(first.run("ingest", box.settings).made, "rename", ".parquet.tmp")
    with boxes.fresh(dropped) as box:
        held = first.hold("ingest", box.settings, at)
        refused = second.run("ingest", box.settings)
        assert (refused.error, refused.status) == ("Conflict", 409)
        ended = held.kill() if dies else held.go()
        assert (ended.killed_by is not None, ended.error) == (dies, "")
        finish(second, box, wanted)


@pytest.mark.parametrize("dies", [False, True])
def test_a_second_prediction_of_a_part_is_turned_away(
    runners: list[Runner], boxes: Boxes, dropped: Start, wanted: audit.Told, dies: bool
) -> None:
    first, second = runners
    with boxes.fresh(dropped) as box:
        first.run("ingest", box.settings)
        calls = first.run("predict", box.settings).made
    commit = number_of(calls, "sendto", "COMMIT", after=number_of(calls, "sendto", "UPDATE part"))
    with boxes.fresh(dropped) as box:
        first.run("ingest", box.settings)
        held = first.hold("predict", box.settings, commit)
        refused = second.run("predict", box.settings)
        assert (refused.error, refused.status) == ("Conflict", 409)
        assert held.kill().killed_by if dies else held.go().done
        finish(second, box, wanted)


def test_passes_that_start_at_the_same_moment(
    runners: list[Runner], boxes: Boxes, dropped: Start, wanted: audit.Told
) -> None:
    for _ in range(ROUNDS):
        with boxes.fresh(dropped) as box, ThreadPoolExecutor(2) as pool:
            both = [pool.submit(runner.run, "ingest_and_predict", box.settings) for runner in runners]
            assert {ended.result().error for ended in both} <= {"", "Conflict"}
            finish(runners[0], box, wanted)


def test_a_second_activation_waits_for_the_first(runners: list[Runner], boxes: Boxes, shelf: Shelf) -> None:
    first, second = runners
    one, two, three = shelf.milling
    start, box = boxes.keep(shelf.start)
    assert first.run("install", box.settings, source=str(shelf.third)).error == ""
    with boxes.fresh(start) as trial:
        calls = first.run("activate", trial.settings, version=three).made
    with boxes.fresh(start) as box, ThreadPoolExecutor(1) as pool:
        held = first.hold("activate", box.settings, number_of(calls, "rename", ".active."), version=three)
        waiting = pool.submit(second.run, "activate", box.settings, version=one)
        assert held.go().done == {"version": three}
        ended: Ended = waiting.result()
        assert ended.done == {"version": one}
        assert bundle.active_version(box.folder / "models", "milling") == one
        assert way_back(box) == [one, three, two, one]
