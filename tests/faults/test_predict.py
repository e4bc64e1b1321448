"""Predictions of parts, killed at every call: every row once, and machines and alarms as if nothing had been."""

from __future__ import annotations

import pytest

from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Journey, Killer
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults


@pytest.fixture
def ingested(runners: list[Runner], boxes: Boxes, dropped: Start) -> Start:
    """A box whose files are taken up, and whose parts wait."""
    start, box = boxes.keep(dropped)
    assert runners[0].run("ingest", box.settings).error == ""
    box.quiet()
    return start


def test_predictions_are_killed_at_any_call(killer: Killer, ingested: Start) -> None:
    killer.demand_the_same(Journey("predictions of waiting parts", ingested, "predict", afterwards="predict"))
