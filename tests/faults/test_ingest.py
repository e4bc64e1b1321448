"""A pass over the drop folder, killed at every call; the next pass, and the predictions after it, find all as it was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.faults import audit
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Judge, Say, demand, kill_everywhere
from tests.faults.runner import Ended, Runner

pytestmark = pytest.mark.faults


def exactly(wanted: audit.Told) -> Judge:
    """Judge: what the schedule does next leaves exactly that."""

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        after = runner.run("ingest_and_predict", box.settings)
        if after.done is None:
            return [f"the next pass ended with {after.error}: {after.message}"]
        return [*wanted.differences(audit.tell(box)), *audit.broken(box)]

    return judge


def test_a_pass_killed_at_any_call_is_finished_by_the_next(
    runners: list[Runner], boxes: Boxes, dropped: Start, say: Say
) -> None:
    with boxes.fresh(dropped) as box:
        calls = runners[0].run("ingest", box.settings).made
        undisturbed = runners[0].run("ingest_and_predict", box.settings)
        assert undisturbed.error == ""
        wanted = audit.tell(box)
        assert audit.broken(box) == []
    demand(kill_everywhere("ingest", runners, boxes, dropped, "ingest", exactly(wanted), say, list(calls)))
