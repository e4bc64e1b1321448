"""Things that tests of the store put into it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection

from appliance.store import ledger, models, writer
from appliance.store.rows import Arrival, Batch, FileRecord, Source
from tests import profiles

_numbers = itertools.count(1)


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


CONTRACT = digest("contract")


@dataclass(frozen=True)
class Plant:
    """A profile with machines and a model."""

    profile_id: int
    model_id: int
    machines: tuple[int, ...]


def plant(conn: Connection, name: str = "milling", machines: Sequence[str] = ("M-1", "M-2")) -> Plant:
    profile_id = models.ensure_profile(conn, profiles.load(name))
    model_id = models.ensure_model(
        conn, profile_id, "v1", {"threshold": 0.25}, True, features=["a", "b"], modes=["wear"]
    )
    return Plant(profile_id, model_id, tuple(models.ensure_machines(conn, profile_id, machines).values()))


def batch(of: Plant, n: int, *, source: Source = "scheduled", seed: int = 0, **more: Any) -> Batch:
    rng = np.random.default_rng(seed)
    probability = rng.beta(0.3, 2, n).astype(np.float32)
    made = Batch(
        profile_id=of.profile_id,
        model_id=of.model_id,
        source=source,
        file_id=None,
        machine_ids=rng.choice(np.array(of.machines, dtype=np.int32), n),
        read_at=np.datetime64("2026-03-01T08:00:00", "us") + np.arange(n).astype("timedelta64[s]"),
        rows=None,
        probability=probability,
        failing=probability >= 0.25,
        flags=np.zeros(n, dtype=np.int16),
        features=rng.normal(size=(n, 2)).astype(np.float32),
        modes=rng.random((n, 1)).astype(np.float32),
    )
    return replace(made, **more)


def claimed(conn: Connection, profile_id: int, content: object = None, **more: Any) -> Arrival:
    """A new arrival; same content, path and inode make the same one."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "origin": "M-1",
        "name": f"{number}.csv",
        "path": f"/raw/{number}.csv",
        "size": 1000,
        "mtime_ns": 1,
        "device": 2049,
        "inode": number,
        "sha256": digest(content if content is not None else number),
        "contract_hash": CONTRACT,
    }
    return ledger.claim(conn, profile_id, **values | more)


@dataclass(frozen=True)
class Issue:
    rule: str = "range"
    column: str = "torque"
    count: int = 2
    examples: tuple[str, ...] = ("-1", "1e9")


def record(good: int, bad: int = 0) -> FileRecord:
    return FileRecord(
        rows_in=good + bad,
        rows_good=good,
        rows_bad=bad,
        criticality="low",
        good_path="good/1.parquet" if good else None,
        bad_path="bad/1.csv" if bad else None,
        report_path=None,
        header=("UDI", "Torque [Nm]"),
        encoding="utf-8",
    )


def ingested(conn: Connection, profile_id: int, parts: Sequence[int], bad: int = 0, **more: Any) -> Arrival:
    """An accepted file with parts of those sizes."""
    arrival = claimed(conn, profile_id, **more)
    ledger.ingested(conn, arrival, record(sum(parts), bad), [Issue(count=bad)] if bad else [], parts)
    return arrival


def predict(conn: Connection, of: Plant, part_id: int) -> int:
    """Predict a part as the API does; the first id."""
    part = ledger.lock_part(conn, part_id)
    rows = np.arange(part.start + 1, part.start + part.rows + 1, dtype=np.int32)
    made = batch(of, part.rows, file_id=part.file_id, rows=rows)
    first, _ = writer.write_predictions(conn, made)
    failing = int(made.failing.sum())
    ledger.part_predicted(conn, part_id, part.rows, failing, of.model_id, first, first + part.rows - 1)
    return first


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
