"""Installing, activating and rolling back models, killed at every call: what serves is whole, and the way back known."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance import bundle, signing
from appliance.errors import BundleRefused
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Journey, Judge, Killer
from tests.faults.conftest import Shelf
from tests.faults.runner import Ended, Runner

pytestmark = pytest.mark.faults


def way_back(box: Box) -> list[str]:
    """What serves, and what would serve after each further rollback; every one of them is verified on the way."""
    keys = signing.trusted_keys(box.folder / "keys")
    trial = box.folder / "trial"
    shutil.copytree(box.folder / "models", trial, symlinks=True)
    try:
        found = [bundle.active(trial, "milling", keys).version]
        try:
            while True:
                found.append(bundle.rollback(trial, "milling", keys).version)
        except BundleRefused as error:
            if error.reason != "missing":
                raise
        return found
    finally:
        shutil.rmtree(trial)


def judge(shelf: Shelf, serving: set[str], repair: str, more: Mapping[str, Any], end: str) -> Judge:
    """One of ``serving`` serves and leads back to all before it; then ``repair`` ends with ``end`` serving."""

    def faults(box: Box, serving: set[str]) -> list[str]:
        models, keys = box.folder / "models", signing.trusted_keys(box.folder / "keys")
        now = bundle.active_version(models, "milling")
        if now not in serving:
            return [f"{now} serves"]
        lines = []
        for version in bundle.installed(models, "milling"):
            try:
                bundle.load(models, "milling", version, keys)
            except BundleRefused as error:
                lines.append(f"{version} is installed and refused: {error}")
        back = list(reversed(shelf.milling[: shelf.milling.index(now) + 1]))
        if (found := way_back(box)) != back:
            lines.append(f"the way back is {found}, not {back}")
        return lines

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        lines = faults(box, serving)
        after = runner.run(repair, box.settings, **more)
        lines += [f"{repair} afterwards: {line}" for line in ([after.message] if after.error else faults(box, {end}))]
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


def test_an_installation_is_killed_at_any_call(killer: Killer, shelf: Shelf) -> None:
    more = {"source": str(shelf.third)}
    journey = Journey("installation of a model", shelf.start, "install", more)
    serving = shelf.milling[1]
    killer.demand(journey, judge(shelf, {serving}, "install", more, serving))


def test_an_activation_is_killed_at_any_call(killer: Killer, shelf: Shelf, installed: tuple[Start, Box]) -> None:
    _, second, third = shelf.milling
    more = {"version": third}
    journey = Journey("activation of a model", installed[0], "activate", more)
    killer.demand(journey, judge(shelf, {second, third}, "activate", more, third))


def test_a_rollback_is_killed_at_any_call(
    killer: Killer, runners: list[Runner], shelf: Shelf, installed: tuple[Start, Box]
) -> None:
    start, box = installed
    _, second, third = shelf.milling
    assert runners[0].run("activate", box.settings, version=third).error == ""
    journey = Journey("rollback of a model", start, "rollback")
    killer.demand(journey, judge(shelf, {second, third}, "activate", {"version": third}, third))
