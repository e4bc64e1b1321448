"""A box keeps its promises without a network, a service, its database or power: it is back by itself, and rows are exact.

The tests of this module are one story on one box and run in this order. It is a copy of the one that was set up for all
tests of the session.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box import host, made
from tests.box.box import Box
from tests.box.installed import ROWS
from tests.box.playbook import Playbook

pytestmark = pytest.mark.box

POWER_CUTS = int(os.environ.get("APPLIANCE_BOX_POWER_CUTS") or "3")
SEED = int(os.environ.get("APPLIANCE_BOX_SEED") or random.randrange(10**6))
SERVICES = (
    "appliance-api",
    "appliance-airflow-api",
    "appliance-airflow-scheduler",
    "postgresql@*",
)
# The first was dropped when the box was set up.
HAND_OVER = {"files": 1}


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


@pytest.fixture
def drop_some(playbook: Playbook, box: Box, tmp_path: Path) -> Callable[[int], None]:
    """Drops that many new files, one after the other, from as many machines."""

    def some(count: int) -> None:
        for _ in range(count):
            file = new_file(tmp_path)
            made.drop(box, playbook.machine_key, file, f"mill-{HAND_OVER['files'] % 3}")

    return some


def new_file(folder: Path) -> Path:
    HAND_OVER["files"] += 1
    return made.write(folder, HAND_OVER["files"], ROWS)


def exact(box: Box) -> None:
    """Everything that was dropped is in the books, once, and is predicted."""
    made.settled(box, HAND_OVER["files"])
    assert made.count(box, "SELECT sum(rows_in) FROM file") == HAND_OVER["files"] * ROWS
    assert made.predicted(box) == made.count(box, "SELECT sum(rows_good) FROM file")


def test_it_goes_on_without_a_network(box: Box, drop_some: Callable[[int], None]) -> None:
    box.cut_internet()
    try:
        drop_some(1)
        exact(box)
        assert "No fault found" in box.run("appliance doctor").out
        assert "cannot be resolved" in box.run("appliance doctor --network", check=False).out
    finally:
        box.restore_internet()


def test_after_a_reboot_all_is_back_without_a_person(box: Box) -> None:
    began = time.monotonic()
    box.reboot()
    made.back(box)
    print(f"\nreboot to everything back: {time.monotonic() - began:.0f} s (aim: 90)")
    assert box.state() == ("running", [])
    # Debian 13 sets up some of /etc anew at each boot.
    assert box.run("cat /etc/default/locale").out.strip() == "LANG=C.UTF-8"


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_that_is_killed_comes_back(box: Box, unit: str, drop_some: Callable[[int], None]) -> None:
    drop_some(1)
    before = box.run(f"systemctl show --property MainPID --value '{unit}'").out.strip()
    box.run(f"systemctl kill --signal=KILL '{unit}'")
    made.back(box)
    assert box.run(f"systemctl show --property MainPID --value '{unit}'").out.strip() not in ("0", before)


def test_a_minute_without_the_database_is_made_up_for(box: Box, drop_some: Callable[[int], None]) -> None:
    api = box.run("systemctl show --property MainPID --value appliance-api").out
    box.run("systemctl stop postgresql")
    began = time.monotonic()

    def says_so() -> bool:
        status, found = made.ready(box)
        return status == 503 and "database" in str(found)

    # It may answer what it knew some seconds ago.
    host.wait_for(says_so, 15, "the API does not miss the database")
    drop_some(1)
    time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    box.run("systemctl start postgresql")
    made.back(box)
    exact(box)
    # Its watchdog has no business with the database.
    assert box.run("systemctl show --property MainPID --value appliance-api").out == api


def test_power_cuts_while_files_stream_in_lose_and_double_nothing(playbook: Playbook, box: Box, tmp_path: Path) -> None:
    chance, over = random.Random(SEED), threading.Event()
    print(f"\n{POWER_CUTS} power cuts, APPLIANCE_BOX_SEED={SEED}")

    def stream() -> None:
        while not over.is_set():
            file = new_file(tmp_path)
            # A machine tries until its file has gone; what came already is known by its content.
            while True:
                try:
                    made.drop(box, playbook.machine_key, file, "mill-1")
                    break
                except (subprocess.SubprocessError, OSError):
                    time.sleep(1)
            time.sleep(2)

    machine = threading.Thread(target=stream)
    machine.start()
    try:
        for _ in range(POWER_CUTS):
            time.sleep(chance.uniform(5, 50))
            box.power_cut()
            box.start()
    finally:
        over.set()
        machine.join(120)
    made.back(box)
    exact(box)
    assert box.state() == ("running", [])
