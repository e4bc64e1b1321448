"""The power is cut under a shift, with all that runs: what was not flushed to the drive is lost, and nobody was lied to."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.store import embedded
from appliance.store.migrations import migrate
from tests import disks
from tests.conftest import MEMORY, PREFIX
from tests.faults import plants, power
from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Journey, Say, undisturbed
from tests.faults.conftest import EVERY, Shelf
from tests.faults.figures import PowerFigures, Tables
from tests.faults.plants import Plant
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults

BOXES = int(os.environ.get("APPLIANCE_FAULTS_POWER_CUTS") or max(2, 6 // EVERY))
SEED = int(os.environ.get("APPLIANCE_FAULTS_SEED") or random.randrange(10**6))
_MIB = 192
_SMALL_MIB = 16
# Without a single fsync of ours, one of so many boxes surely shows it.
_SURELY = 12


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """Where images may lie."""
    if why := power.hindrance():
        pytest.skip(f"no power can be cut here: {why}")
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def plant(room: Path, runners: list[Runner], boxes: Boxes, dropped: Start, shelf: Shelf) -> Plant:
    wanted = undisturbed(runners[0], boxes, Journey("", dropped, "ingest_and_predict"))
    plant = Plant(room / "first.img", room / "disk", wanted, shelf)
    power.make(plant.image, _MIB)
    with power.mounted(plant.image, plant.folder):
        shutil.copytree(dropped.folder, plant.folder / "box", symlinks=True)
        embedded.start(plant.folder / "db").stop()
        disks.write_ahead_in_small_pieces(plant.folder / "db")
        server = plant.start()
        migrate(server.dsn)
        server.stop()
    plant.measure(runners[0])
    return plant


def test_a_drive_keeps_what_was_flushed_and_not_all_else(room: Path) -> None:
    """What all others hang on: a name and what it holds are there once both were synced, and only then."""
    empty, folder = room / "empty.img", room / "small"
    power.make(empty, _SMALL_MIB)
    for seed in range(4):
        image = room / "small.img"
        power.copy(empty, image)
        with power.switched_on(image, folder, str(seed)):
            for name in ("kept", "lost"):
                (folder / name).write_text("x" * 10_000)
                if name == "kept":
                    for path in (folder / name, folder):
                        descriptor = os.open(path, os.O_RDONLY)
                        os.fsync(descriptor)
                        os.close(descriptor)
        assert power.faults(image, folder) == []
        with power.mounted(image, folder):
            assert (folder / "kept").read_text() == "x" * 10_000
            assert not (folder / "lost").exists()


def test_what_is_never_synced_is_found_out(plant: Plant, runners: list[Runner]) -> None:
    """The same shift, in which our fsyncs do nothing: files that the ledger names are gone, or full of zeros."""
    outcomes = (plants.cut(plant, runners[0], f"{SEED} never {number}", synced=False) for number in range(_SURELY))
    assert any(outcome.wrong for outcome in outcomes)


def test_the_power_is_cut_anywhere(plant: Plant, runners: list[Runner], say: Say, tables: Tables) -> None:
    print(f"\n{BOXES} boxes, APPLIANCE_FAULTS_SEED={SEED}")
    outcomes = []
    for number in range(BOXES):
        outcome = plants.cut(plant, runners[0], f"{SEED} {number}")
        assert not outcome.wrong, "\n".join([f"APPLIANCE_FAULTS_SEED={SEED}, box {number}:", *outcome.wrong])
        outcomes.append(outcome)
        say(f"power cuts: {number + 1} of {BOXES} boxes")
    cuts, told = sum(one.cuts for one in outcomes), sum(len(one.told) for one in outcomes)
    requests = plant.until_end - plant.until_start
    tables.power = PowerFigures(SEED, len(outcomes), cuts, requests, told, plant.wanted.accounts)
