"""A pass that copies to S3, killed at every call: every object is whole in the end, none is missing and none is doubled."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import text

from appliance.store import alarms, outbox
from appliance.store import engine as engines
from tests.faults import audit
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Figures, Journey, Judge, Killer, Say
from tests.faults.conftest import EVERY, FAILURES_EVERY
from tests.faults.failures import Failer
from tests.faults.figures import Tables
from tests.faults.runner import Ended, Runner
from tests.sync import stores
from tests.sync.stores import KEYS, Store
from tests.unit.store import made

pytestmark = pytest.mark.faults

# Small parts, so that most calls are not about one of many blocks of the same part.
_PART = 32 << 10
_LARGE = 2 * _PART + 1_000


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with stores.running(_PART) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Copying(Box):
    """A box that copies to a bucket of its own."""

    bucket: str
    url: str

    @property
    def settings(self) -> Mapping[str, Any]:
        s3 = {"s3_bucket": self.bucket, "s3_endpoint": self.url, "s3_keys": KEYS, "s3_part_mb": 5}
        return {**super(Copying, self).settings, **s3}


class CopyingBoxes(Boxes):
    """Each fresh box has a bucket of its own."""

    def __init__(self, boxes: Boxes, store: Store) -> None:
        self._boxes, self._store = boxes, store

    @contextmanager
    def fresh(self, start: Start) -> Iterator[Box]:
        with self._boxes.fresh(start) as box:
            yield Copying(box.folder, box.dsn, self._store.bucket(), self._store.url)


@pytest.fixture(scope="module")
def filled(runners: list[Runner], boxes: Boxes, one_file: Start) -> Start:
    """A box that predicted a file of good and bad rows, was told an outcome, and has a file that goes in parts."""
    start, box = boxes.keep(one_file)
    assert runners[0].run("ingest_and_predict", box.settings).error == ""
    engine = engines.connect(box.dsn, "filling")
    with engines.transaction(engine) as connection:
        machine = connection.execute(text("SELECT id FROM machine")).scalars().first()
        assert machine is not None
        told = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        alarms.record_outcome(connection, machine, told, "failure", "kim")
        _enlarge(box.folder, connection)
        # The size of a file's parts is fixed when it is put in.
        outbox.gather(connection)
        connection.execute(text("UPDATE outbox SET part_bytes = :part"), {"part": _PART})
    engine.dispose()
    box.quiet()
    return start


def _enlarge(folder: Path, connection: engines.Connection) -> None:
    """Let the file of bad rows be one that is sent in parts; what it holds is nothing to who copies it."""
    path = connection.execute(text("SELECT bad_path FROM file WHERE rows_bad > 0")).scalar_one()
    (folder / path).write_bytes(np.random.default_rng(3).bytes(_LARGE))


def _broken(box: Copying, store: Store, *, ended: bool) -> list[str]:
    """What is wrong between the ledger, the bucket and the disk; ``ended``: a pass came to its end."""
    objects = store.objects(box.bucket)
    found = {key: made.digest_of(data) for key, data in objects.items()}
    lines = []
    with box.looking() as connection:
        verified = dict(
            tuple(row)
            for row in connection.execute(text("SELECT key, sha256 FROM outbox WHERE verified_at IS NOT NULL"))
        )
        waiting = connection.execute(text("SELECT count(*) FROM outbox WHERE verified_at IS NULL")).scalar_one()
        synced = connection.execute(text("SELECT count(*) FROM file WHERE state = 'synced'")).scalar_one()
        rows = connection.execute(text("SELECT id FROM prediction ORDER BY id")).scalars().all()
        told = connection.execute(text("SELECT id FROM outcome ORDER BY id")).scalars().all()
    lines += [
        f"verified, but not in the bucket as it was: {key}" for key in verified if found.get(key) != verified[key]
    ]
    for key, sha in found.items():
        if sha[:12] != key.rpartition("-")[2].partition(".")[0]:
            lines.append(f"not whole: {key}")
    if not ended:
        return lines
    lines += [f"in the bucket, but not verified: {key}" for key in found.keys() - verified.keys()]
    lines += [f"an upload never ended: {key}" for key in store.uploads(box.bucket)]
    lines += [f"left over: {path.name}" for path in (box.folder / "outbox").iterdir() if path.name != ".lock"]
    for layer, wanted in (("predictions", rows), ("outcomes", told)):
        frames = [pl.read_parquet(io.BytesIO(data)) for key, data in objects.items() if f"layer={layer}/" in key]
        copied = sorted(number for frame in frames for number in frame["id"].to_list())
        if copied != wanted:
            lines.append(f"{layer} {wanted} are in the bucket as {copied}")
    if (waiting, synced) != (0, 1):
        lines.append(f"{waiting} objects wait, {synced} files are synced")
    return [*lines, *(line for line in audit.broken(box) if "outbox/" not in line)]


@pytest.fixture
def judge(store: Store) -> Judge:
    """Nothing is marked that the store does not have; the next pass brings all of it there."""

    def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
        assert isinstance(box, Copying)
        between = _broken(box, store, ended=False)
        after = runner.run("sync", box.settings)
        if after.done is None:
            return [*between, f"the next pass ended with {after.error}: {after.message}"]
        box.quiet()
        return [*between, *_broken(box, store, ended=True)]

    return judge


def test_a_pass_is_killed_at_any_call(
    runners: list[Runner], boxes: Boxes, filled: Start, store: Store, judge: Judge, say: Say, figures: list[Figures]
) -> None:
    killer = Killer(runners, CopyingBoxes(boxes, store), say, figures, EVERY)
    killer.demand(Journey("a pass that copies to S3", filled, "sync"), judge)


def test_calls_of_a_pass_fail(
    runners: list[Runner], boxes: Boxes, filled: Start, store: Store, judge: Judge, say: Say, tables: Tables
) -> None:
    failer = Failer(runners, CopyingBoxes(boxes, store), say, tables.failures, FAILURES_EVERY)
    failer.demand(Journey("a pass that copies to S3", filled, "sync"), judge)


def test_two_passes_meet(runners: list[Runner], boxes: Boxes, filled: Start, store: Store) -> None:
    """The second is told that one is at work; a dead one holds nobody up."""
    with CopyingBoxes(boxes, store).fresh(filled) as box:
        assert isinstance(box, Copying)
        held = runners[0].hold("sync", box.settings, at=20)
        second = runners[1].run("sync", box.settings)
        assert second.error == "Conflict"
        held.kill()
        box.quiet()
        assert runners[1].run("sync", box.settings).error == ""
        box.quiet()
        assert _broken(box, store, ended=True) == []
