"""Installing, activating and rolling back models, killed at every call: what serves is whole, and the way back known."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance import bundle
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Journey, Judge, Killer
from tests.faults.conftest import Shelf
from tests.faults.failures import Failer
from tests.faults.runner import Ended, Runner
from tests.faults.shelves import shelf_faults

pytestmark = pytest.mark.faults


def judge(shelf: Shelf, serving: set[str], repair: str, more: Mapping[str, Any], end: str) -> Judge:
    """One of ``serving`` serves and leads back to all before it; then ``repair`` ends with ``end`` serving."""

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        lines = shelf_faults(shelf, box, serving)
        after = runner.run(repair, box.settings, **more)
        lines += [
            f"{repair} afterwards: {line}"
            for line in ([after.message] if after.error else shelf_faults(shelf, box, {end}))
        ]
        shelved = box.folder / "models" / "milling"
        if bundle.installed(shelved.parent, "milling") != sorted(shelf.milling):
            lines.append("a model is missing")
        return lines + [f"left over: {path.name}" for path in shelved.glob(".*") if path.name != ".lock"]

    return judge


@pytest.fixture
def installed(boxes: Boxes, shelf: Shelf) -> tuple[Start, Box]:
    """A box with the third model on its shelf, not serving."""
    start, box = boxes.keep(shelf.start)
    shutil.copytree(shelf.third, box.folder / "models" / "milling" / shelf.milling[2])
    return start, box


Trial = tuple[Journey, Judge]


@pytest.fixture
def installation(shelf: Shelf) -> Trial:
    more, serving = {"source": str(shelf.third)}, shelf.milling[1]
    journey = Journey("installation of a model", shelf.start, "install", more)
    return journey, judge(shelf, {serving}, "install", more, serving)


@pytest.fixture
def activation(shelf: Shelf, installed: tuple[Start, Box]) -> Trial:
    _, second, third = shelf.milling
    more = {"version": third}
    journey = Journey("activation of a model", installed[0], "activate", more)
    return journey, judge(shelf, {second, third}, "activate", more, third)


@pytest.fixture
def rollback(runners: list[Runner], shelf: Shelf, installed: tuple[Start, Box]) -> Trial:
    start, box = installed
    _, second, third = shelf.milling
    assert runners[0].run("activate", box.settings, version=third).error == ""
    journey = Journey("rollback of a model", start, "rollback")
    return journey, judge(shelf, {second, third}, "activate", {"version": third}, third)


def test_an_installation_is_killed_at_any_call(killer: Killer, installation: Trial) -> None:
    killer.demand(*installation)


def test_an_activation_is_killed_at_any_call(killer: Killer, activation: Trial) -> None:
    killer.demand(*activation)


def test_a_rollback_is_killed_at_any_call(killer: Killer, rollback: Trial) -> None:
    killer.demand(*rollback)


def test_calls_of_an_installation_fail(failer: Failer, installation: Trial) -> None:
    failer.demand(*installation)


def test_calls_of_an_activation_fail(failer: Failer, activation: Trial) -> None:
    failer.demand(*activation)


def test_calls_of_a_rollback_fail(failer: Failer, rollback: Trial) -> None:
    failer.demand(*rollback)
