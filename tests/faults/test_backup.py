"""A backup, a drill and a restore, killed at every call, with the programs that they started: there is no half of any."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text

from appliance import backup_manifest, backup_places, backup_state
from appliance.backup_drill import DATABASE
from appliance.settings import Settings
from appliance.store import dump, refill
from tests.conftest import Cluster
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Figures, Journey, Killer, Say
from tests.faults.conftest import EVERY, FAILURES_EVERY
from tests.faults.failures import Failer
from tests.faults.figures import Tables
from tests.faults.runner import Ended, Runner

pytestmark = pytest.mark.faults

_TABLES = ("prediction", "file", "part", "machine", "alarm")


@dataclass(frozen=True, slots=True)
class Backed(Box):
    """A box with a place for backups beside its data."""

    @property
    def place(self) -> Path:
        return self.folder / "place"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**super(Backed, self).settings, "backup_to": str(self.place), "disk_reserve_mb": 0}

    @property
    def name(self) -> str:
        return refill.named(self.dsn)

    @property
    def backups(self) -> list[str]:
        return backup_places.InFolder(self.place).names()

    def told(self) -> tuple[Any, ...]:
        """What has to be all old or all new: rows of the tables, and the models."""
        with self.looking() as connection:
            rows = [
                tuple(
                    connection.execute(
                        text(f"SELECT count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {name} t")
                    ).one()
                )
                for name in _TABLES
            ]
        models = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted((self.folder / "models").rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        return rows, models


class BackedBoxes(Boxes):
    """Boxes whose other databases go with them."""

    def __init__(self, boxes: Boxes, cluster: Cluster) -> None:
        self._boxes, self._of = boxes, cluster

    @contextmanager
    def fresh(self, start: Start) -> Iterator[Box]:
        with self._boxes.fresh(start) as box:
            try:
                yield Backed(box.folder, box.dsn)
            finally:
                for ending in (refill.NEW, refill.OLD):
                    self._of.drop(refill.named(box.dsn) + ending)


@pytest.fixture(scope="module")
def filled(runners: list[Runner], boxes: Boxes, one_file: Start) -> Start:
    """A box that predicted a file, with a backup of that."""
    start, box = boxes.keep(one_file)
    backed = Backed(box.folder, box.dsn)
    backed.place.mkdir()
    assert runners[0].run("ingest_and_predict", backed.settings).error == ""
    ended = runners[0].run("backup", backed.settings)
    assert ended.error == "", ended.message
    box.quiet()
    _next_second()
    return start


@pytest.fixture(scope="module")
def aged(runners: list[Runner], boxes: Boxes, filled: Start) -> Start:
    """The same, after it lost its predictions and went on with another model."""
    start, box = boxes.keep(filled)
    with box.looking() as connection:
        connection.execute(text("DELETE FROM machine_state"))
        connection.execute(text("DELETE FROM prediction"))
    (box.folder / "models" / "of-later").write_text("x")
    box.quiet()
    return start


@pytest.fixture
def killing(runners: list[Runner], boxes: Boxes, embedded_cluster: Cluster, say: Say, figures: list[Figures]) -> Killer:
    return Killer(runners, BackedBoxes(boxes, embedded_cluster), say, figures, EVERY)


@pytest.fixture
def failing(runners: list[Runner], boxes: Boxes, embedded_cluster: Cluster, say: Say, tables: Tables) -> Failer:
    return Failer(runners, BackedBoxes(boxes, embedded_cluster), say, tables.failures, FAILURES_EVERY).seldom()


def _next_second() -> None:
    """A backup is named by its second, and there is one of a name."""
    time.sleep(1.1)


def _wrong_backups(box: Backed) -> list[str]:
    """What is wrong with what is there under the name of a backup."""
    place, lines = backup_places.InFolder(box.place), []
    for name in place.names():
        read = backup_manifest.read(place.manifest(name), name)
        lines += backup_places.verify(place, name, read.manifest.pieces)
    return lines


def _left(box: Backed) -> list[str]:
    """What nobody needs any more."""
    places = [path for folder in (box.place, box.folder / "backup") for path in folder.iterdir()]
    known = {".lock", ".turn", *box.backups}
    lines = [f"left over: {path.relative_to(box.folder)}" for path in places if path.name not in known]
    with _server(box) as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", ([DATABASE, box.name + refill.NEW],))
        lines += [f"left over: database {row[0]}" for row in cursor.fetchall()]
    return lines


def _judge_backup(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
    """What has a backup's name is one, and the next one is made."""
    assert isinstance(box, Backed)
    between = _wrong_backups(box)
    after = runner.run("backup", box.settings)
    if after.error == "Conflict":  # within the same second as the one that was cut off behind its rename
        _next_second()
        after = runner.run("backup", box.settings)
    if after.done is None:
        return [*between, f"the next one ended with {after.error}: {after.message}"]
    with box.looking() as connection:
        query = text("SELECT name FROM backup WHERE removed_at IS NULL AND place = :place ORDER BY name")
        kept = connection.execute(query, {"place": str(box.place)}).scalars().all()
    known = [] if kept == box.backups else [f"the ledger has {kept}, the place {box.backups}"]
    return [*between, *_wrong_backups(box), *known, *_left(box)]


def test_a_backup_is_killed_at_any_call(killing: Killer, filled: Start) -> None:
    killing.demand(Journey("a backup", filled, "backup"), _judge_backup)


def test_calls_of_a_backup_fail(failing: Failer, filled: Start) -> None:
    failing.demand(Journey("a backup, at its syncs and one call of ten", filled, "backup"), _judge_backup)


def test_a_restore_is_killed_at_any_call(
    killing: Killer, runners: list[Runner], boxes: Boxes, aged: Start, filled: Start
) -> None:
    with boxes.fresh(filled) as box:
        backed = Backed(box.folder, box.dsn)
        new, name = backed.told(), backed.backups[0]
    with boxes.fresh(aged) as box:
        old = Backed(box.folder, box.dsn).told()
    assert old != new

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        assert isinstance(box, Backed)
        lines = []
        if not backup_state.pending(Settings(**dict(box.settings))) and box.told() not in (old, new):
            lines.append("it is neither what it was nor what it is to be, and no plan says so")
        after = runner.run("restore", box.settings, name=name)
        if after.done is None:
            return [*lines, f"the next one ended with {after.error}: {after.message}"]
        box.quiet()
        if box.told() != new:
            lines.append("it is not what the backup holds")
        return [*lines, *_left(box)]

    killing.seldom().demand(Journey("a restore, at one call of ten", aged, "restore", {"name": name}), judge)


def test_a_drill_is_killed_at_any_call(killing: Killer, filled: Start) -> None:
    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        assert isinstance(box, Backed)
        after = runner.run("drill", box.settings)
        if after.done is None:
            return [f"the next one ended with {after.error}: {after.message}"]
        return _left(box)

    # One database has that name: two boxes on one server would drop each other's.
    killing.on_one().demand(Journey("a restore drill, at one call of ten", filled, "drill"), judge)


@contextmanager
def _server(box: Box) -> Iterator[Any]:
    connection = psycopg2.connect(dump.beside(box.dsn, "postgres"))
    try:
        yield connection.cursor()
    finally:
        connection.close()
