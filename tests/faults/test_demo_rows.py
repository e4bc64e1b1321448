"""The removal of simulated rows, killed at every call: nothing is left that nobody accounts for, and nothing real goes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults import audit, scenes
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Journey, Killer
from tests.faults.runner import Ended, Runner

pytestmark = pytest.mark.faults

# The ledger may name a file that is gone, since what it does not name must not lie there; a removal that goes on mends
# it. Beside that, only what a simulator and the removal themselves keep out of sight may be left.
_UNTIL_IT_GOES_ON = (
    "in the ledger, but not there: ",
    "left over: raw_data/.demo-",
    "left over: raw_data/milling/demo-mill-3/.leaving-",
)


@pytest.fixture
def mixed(runners: list[Runner], boxes: Boxes, dropped: Start) -> tuple[Start, audit.Told]:
    """A box that knows real and simulated files, and what it would tell without the simulated ones."""
    start, box = boxes.keep(dropped)
    assert runners[0].run("ingest_and_predict", box.settings).error == ""
    box.quiet()
    real = audit.tell(box)
    scenes.simulated_shift(box.raw)
    assert runners[0].run("ingest_and_predict", box.settings).error == ""
    scenes.more_simulated(box.raw)
    box.quiet()
    assert audit.tell(box).accounts["rows_predicted"] > real.accounts["rows_predicted"]
    return start, real


def test_a_removal_is_killed_at_any_call(killer: Killer, mixed: tuple[Start, audit.Told]) -> None:
    start, real = mixed

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        between = [line for line in audit.broken(box) if not line.startswith(_UNTIL_IT_GOES_ON)]
        after = runner.run("remove_demo_rows", box.settings)
        if after.done is None:
            return [f"the next removal ended with {after.error}: {after.message}"]
        box.quiet()
        return [*between, *real.differences(audit.tell(box)), *audit.broken(box)]

    killer.demand(Journey("removal of simulated rows", start, "remove_demo_rows"), judge, real.accounts)


def test_two_removals_meet(runners: list[Runner], boxes: Boxes, mixed: tuple[Start, audit.Told]) -> None:
    """The second is told that one is at work; a dead one holds nobody up."""
    start, real = mixed
    with boxes.fresh(start) as box:
        held = runners[0].hold("remove_demo_rows", box.settings, at=20)
        second = runners[1].run("remove_demo_rows", box.settings)
        assert second.error == "Conflict"
        held.kill()
        box.quiet()
        assert runners[1].run("remove_demo_rows", box.settings).error == ""
        box.quiet()
        assert real.differences(audit.tell(box)) == []
        assert audit.broken(box) == []
