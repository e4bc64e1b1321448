"""A box with its database on one drive, and shifts on it that end with the power."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from appliance.errors import ApplianceError
from appliance.store import embedded
from tests.faults import audit, power, processes
from tests.faults.boxes import Box
from tests.faults.conftest import Shelf
from tests.faults.runner import Runner, Trouble
from tests.faults.shelves import shelf_faults

# Of so many boxes one loses its power again, at some moment from the start of its server to the end of its next shift.
_TWICE = 3
# As a box has it, and small, so that it often begins anew and cuts hit that too.
_SERVER = {"max_wal_size": "4MB", "min_wal_size": "2MB", "wal_recycle": "off", "shared_buffers": "16MB"}
_LOOK_SECONDS = 0.02


@dataclass
class Plant:
    """``image`` is what each box begins with, ``folder`` where it is mounted; ``wanted`` is what it comes to at last."""

    image: Path
    folder: Path
    wanted: audit.Told
    shelf: Shelf
    # Requests to the drive: until the server runs, and until the shift is over.
    until_start: int = 0
    until_end: int = 0

    @property
    def told(self) -> Path:
        """What people were told in a shift, on another drive."""
        return self.image.with_name("told")

    def start(self) -> embedded.Server:
        return embedded.start(self.folder / "db", options=_SERVER)

    def box(self, server: embedded.Server) -> Box:
        return Box(self.folder / "box", server.dsn)

    def shift(self, runner: Runner, server: embedded.Server, synced: bool = True) -> None:
        ended = runner.run(
            "shift",
            self.box(server).settings,
            told=self.told,
            source=self.shelf.third,
            version=self.shelf.milling[2],
            synced=synced,
        )
        assert ended.error == "", ended.message

    def measure(self, runner: Runner) -> None:
        """Count the requests where the power stays."""
        image = self.image.with_name("measured.img")
        power.copy(self.image, image)
        with power.switched_on(image, self.folder, "") as drive:
            server = self.start()
            self.until_start = drive.requests()
            self.shift(runner, server)
            self.until_end = drive.requests()
            server.stop()
        image.unlink()


@dataclass
class Outcome:
    """What came of a box whose power was cut, once or twice: what people had been told, and what is wrong."""

    told: list[Mapping[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    cuts: int = 0


def cut(plant: Plant, runner: Runner, seed: str, *, synced: bool = True) -> Outcome:
    """Cut the power of a box where chance has it, and judge what is there when it is back."""
    chance, outcome = random.Random(seed), Outcome()
    image = plant.image.with_name("cut.img")
    power.copy(plant.image, image)
    try:
        _shift(plant, image, runner, chance.randint(plant.until_start, plant.until_end), seed, outcome, synced)
        if chance.randrange(_TWICE) == 0:
            _shift(plant, image, runner, chance.randint(1, plant.until_end), f"{seed} again", outcome, synced)
        _judge(plant, image, runner, outcome)
    finally:
        image.unlink()
    return outcome


def _shift(plant: Plant, image: Path, runner: Runner, at: int, seed: str, outcome: Outcome, synced: bool) -> None:
    """Start the server, run a shift; the power is cut at the request ``at``, and at the latest when it is over."""
    servers: list[embedded.Server] = []
    is_over = threading.Event()

    def work() -> None:
        servers.append(plant.start())
        if not is_over.is_set():
            plant.shift(runner, servers[0], synced)

    plant.told.write_text("")
    with power.switched_on(image, plant.folder, seed) as drive, ThreadPoolExecutor(1) as pool:
        drive.arm(at)
        working = pool.submit(work)
        if not _until_cut(drive, working):
            # Its errors are ours, for nothing was cut yet.
            working.result()
            drive.cut()
        is_over.set()
        outcome.told += [json.loads(line) for line in plant.told.read_text().splitlines()]
        runner.kill_child()
        killed = processes.kill_in(plant.folder)
        drive.off()
        with suppress(Trouble, ApplianceError, AssertionError):
            working.result()
        killed += processes.kill_in(plant.folder)
        for server in servers:
            server.stop()
        processes.await_end(killed)
    outcome.cuts += 1


def _until_cut(drive: power.Drive, working: Future[None]) -> bool:
    while not working.done():
        if drive.is_cut(_LOOK_SECONDS):
            return True
    return drive.is_cut(0)


def _judge(plant: Plant, image: Path, runner: Runner, outcome: Outcome) -> None:
    """All that was told is there; and what the schedule does next leaves what it leaves where no power was cut."""
    outcome.wrong += power.faults(image, plant.folder)
    with power.mounted(image, plant.folder):
        server = plant.start()
        try:
            box = plant.box(server)
            outcome.wrong += [f"told, and lost: {said}" for said in outcome.told if not _kept(plant, box, said)]
            outcome.wrong += shelf_faults(plant.shelf, box, set(plant.shelf.milling[1:]))
            after = runner.run("ingest_and_predict", box.settings)
            if after.done is None:
                outcome.wrong.append(f"the next pass ended with {after.error}: {after.message}")
                return
            box.quiet()
            outcome.wrong += [*plant.wanted.differences(audit.tell(box)), *audit.broken(box)]
        except (OSError, AssertionError, pl.exceptions.PolarsError) as error:
            outcome.wrong.append(f"what is there cannot be read: {error}")
        finally:
            server.stop()


def _kept(plant: Plant, box: Box, said: Mapping[str, Any]) -> bool:
    """Whether it is there what somebody was told is stored."""
    if said["kind"] == "active":
        return not shelf_faults(plant.shelf, box, {said["version"]})
    with box.looking() as connection:

        def found(query: str) -> Any:
            return connection.execute(text(query), {"id": said.get("id")}).scalar()

        match said["kind"]:
            case "checked":
                probability = found("SELECT probability FROM prediction WHERE id = :id")
                return probability is not None and abs(probability - said["probability"]) < 1e-6
            case "ingested":
                return bool(found("SELECT sum(rows_in) FROM file") == plant.wanted.accounts["rows_in"])
            case _:
                rows = (
                    "SELECT count(*) FROM prediction r JOIN part p USING (file_id)"
                    " WHERE p.id = :id AND p.state = 'predicted' AND r.id BETWEEN p.first_id AND p.last_id"
                )
                return bool(found(rows) == said["rows"])
