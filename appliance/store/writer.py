"""Predictions into the database: binary COPY out of NumPy records, no Python per row."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from appliance.store import known
from appliance.store.engine import cursor
from appliance.store.rows import SOURCES, Batch
from appliance.store.tables import prediction

CHUNK_ROWS = 16_384
# 2^12 ids share a row of prediction_hour.
BUCKET_BITS = 12

# Advisory locks: this one, and 7_165_002 in the function of the database that gives ids.
_PARTITION_LOCK = 7_165_003

_RESERVE = "SELECT last, now FROM reserve_prediction_ids(%s)"

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_FLOAT4 = 700  # the type's number inside of PostgreSQL
_EPOCH = np.datetime64("2000-01-01T00:00:00", "us")


def write_predictions(conn: Connection, batch: Batch, predicted_at: datetime | None = None) -> tuple[int, datetime]:
    """Append a batch; gives the first id (row i gets first + i) and the time that all rows carry.

    ``predicted_at`` is the database's clock unless rows of another time are brought in. ValueError where the arrays
    do not fit together. Memory is bounded by CHUNK_ROWS, whatever the size of the batch.
    """
    _check(batch)
    first_id, now = reserve_ids(conn, len(batch))
    now = predicted_at or now
    ensure_partition(conn, now)
    columns = ", ".join(f'"{column.name}"' for column in prediction.columns)
    stream = _Stream(_binary(batch, first_id, now))
    with cursor(conn) as told:
        # Rows of one instant lie in one partition: named here, PostgreSQL need not look for it row by row.
        told.copy_expert(f"COPY {partition_of(now)} ({columns}) FROM STDIN (FORMAT binary)", stream, size=1 << 20)
    _remember_hour(conn, first_id, first_id + len(batch) - 1, now)
    return first_id, now


def reserve_ids(conn: Connection, n: int) -> tuple[int, datetime]:
    """``n`` ids in a row, never given again, and the database's clock at that moment.

    What is reserved and not used is a gap. The lock is gone when this returns, or when the connection dies.
    """
    with cursor(conn) as asked:
        asked.execute(_RESERVE, (n,))
        ((last, now),) = asked.fetchall()
    return last - n + 1, now


def partition_of(when: datetime) -> str:
    """The name of the partition that holds that moment's month (UTC)."""
    return f"prediction_{when.astimezone(UTC):%Y_%m}"


def ensure_partition(conn: Connection, when: datetime, ahead: int = 1) -> None:
    """See that the month of ``when`` has its partition; where it is new, ``ahead`` more are made with it.

    Readers and writers go on meanwhile; a second process that wants the same month waits for the first one's commit.
    """
    if known.get(conn, partition_of(when)):
        return
    known.learn(conn, partition_of(when), True)
    if _has_partition(conn, when):
        return
    conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PARTITION_LOCK})
    month = when.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(ahead + 1):
        following = (month + timedelta(days=31)).replace(day=1)
        if not _has_partition(conn, month):
            name = partition_of(month)
            # CREATE ... PARTITION OF would lock everybody out of all predictions until this transaction ends.
            conn.execute(text(f"CREATE TABLE {name} (LIKE prediction INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
            conn.execute(
                text(
                    f"ALTER TABLE prediction ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ('{month.isoformat()}') TO ('{following.isoformat()}')"
                )
            )
        month = following


def hour_of(when: datetime) -> datetime:
    """The hour (UTC) under which ``prediction_hour`` knows the ids of that moment."""
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _has_partition(conn: Connection, when: datetime) -> bool:
    found = conn.execute(
        text(
            "SELECT 1 FROM pg_inherits WHERE inhparent = 'prediction'::regclass AND inhrelid = to_regclass(:partition)"
        ),
        {"partition": partition_of(when)},
    )
    return found.first() is not None


def _remember_hour(conn: Connection, first: int, last: int, when: datetime) -> None:
    pair = hour_of(when), first >> BUCKET_BITS, last >> BUCKET_BITS
    if known.get(conn, "hour") == pair:
        return
    # The last one alone: those of dropped partitions are removed.
    known.learn(conn, "hour", pair)
    # No unique constraint: a writer would wait there for another's commit. A pair that stands twice does no harm.
    conn.execute(
        text(
            "INSERT INTO prediction_hour (hour, bucket) SELECT :hour, new.bucket"
            " FROM generate_series(CAST(:low AS bigint), CAST(:high AS bigint)) AS new (bucket) WHERE NOT EXISTS ("
            "SELECT FROM prediction_hour old WHERE old.bucket = new.bucket AND old.hour = :hour)"
        ),
        dict(zip(("hour", "low", "high"), pair, strict=True)),
    )


def _check(batch: Batch) -> None:
    n = len(batch)
    if n == 0:
        raise ValueError("a batch holds at least one row")
    flat = (batch.machine_ids, batch.read_at, batch.probability, batch.failing, batch.flags)
    if any(array.shape != (n,) for array in flat) or (batch.rows is not None and batch.rows.shape != (n,)):
        raise ValueError(f"not all arrays of the batch have the shape ({n},)")
    if any(array.ndim != 2 or len(array) != n for array in (batch.features, batch.modes)):
        raise ValueError(f"features and modes must have the shapes ({n}, f) and ({n}, m)")
    if np.isnat(batch.read_at).any():
        raise ValueError("a time of reading is missing")


def _record_type(features: int, modes: int, of_file: bool, numbered: bool) -> np.dtype[np.void]:
    """One row of PostgreSQL's binary COPY: each value behind its length, all big-endian."""
    fields: list[tuple[str, object]] = [("fields", ">i2")]

    def value(name: str, kind: str) -> None:
        fields.append((f"{name}_bytes", ">i4"))
        fields.append((name, kind))

    def array(name: str, width: int) -> None:
        fields.append((f"{name}_bytes", ">i4"))
        fields.append((f"{name}_head", [("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4")]))
        if width:
            fields.append((f"{name}_shape", [("length", ">i4"), ("lower", ">i4")]))
            fields.append((name, [("bytes", ">i4"), ("value", ">f4")], (width,)))  # type: ignore[arg-type]

    value("id", ">i8")
    value("predicted_at", ">i8")
    value("read_at", ">i8")
    value("file_id", ">i8") if of_file else fields.append(("file_id_bytes", ">i4"))
    value("row", ">i4") if numbered else fields.append(("row_bytes", ">i4"))
    value("machine_id", ">i4")
    value("model_id", ">i4")
    value("probability", ">f4")
    value("profile_id", ">i2")
    value("source", ">i2")
    value("flags", ">i2")
    value("failing", "i1")
    array("features", features)
    array("modes", modes)
    return np.dtype(fields)


def _binary(batch: Batch, first_id: int, now: datetime) -> Iterator[memoryview]:
    yield memoryview(_HEADER)
    records = _blank(min(CHUNK_ROWS, len(batch)), batch)
    records["predicted_at"] = _microseconds(np.array(now.astimezone(UTC).replace(tzinfo=None), "datetime64[us]"))
    for start in range(0, len(batch), CHUNK_ROWS):
        part = slice(start, min(start + CHUNK_ROWS, len(batch)))
        chunk = records[: part.stop - part.start]
        chunk["id"] = np.arange(first_id + part.start, first_id + part.stop)
        chunk["read_at"] = _microseconds(batch.read_at[part])
        if batch.rows is not None:
            chunk["row"] = batch.rows[part]
        chunk["machine_id"] = batch.machine_ids[part]
        chunk["probability"] = batch.probability[part]
        chunk["flags"] = batch.flags[part]
        chunk["failing"] = batch.failing[part]
        if batch.features.shape[1]:
            chunk["features"]["value"] = batch.features[part]
        if batch.modes.shape[1]:
            chunk["modes"]["value"] = batch.modes[part]
        yield memoryview(chunk.view(np.uint8))  # type: ignore[arg-type]
    yield memoryview(_TRAILER)


@lru_cache(maxsize=64)
def _frame(features: int, modes: int, of_file: bool, numbered: bool) -> NDArray[np.void]:
    """A record, shape (1,), with all lengths and no values."""
    record = np.zeros(1, dtype=(kind := _record_type(features, modes, of_file, numbered)))
    names = [column.name for column in prediction.columns]
    record["fields"] = len(names)
    for name in names:
        belonging = {name, f"{name}_head", f"{name}_shape"}.intersection(kind.names or ())
        width = sum(kind[part].itemsize for part in belonging)
        record[f"{name}_bytes"] = width or -1  # -1 is NULL
    for name, width in (("features", features), ("modes", modes)):
        record[f"{name}_head"]["dimensions"] = 1 if width else 0
        record[f"{name}_head"]["type"] = _FLOAT4
        if width:
            record[f"{name}_shape"]["length"] = width
            record[f"{name}_shape"]["lower"] = 1
            record[name]["bytes"] = 4
    return record


def _blank(rows: int, batch: Batch) -> NDArray[np.void]:
    """Records with all that is the same in every row of the batch."""
    shape = batch.features.shape[1], batch.modes.shape[1], batch.file_id is not None, batch.rows is not None
    records = np.repeat(_frame(*shape), rows)
    records["model_id"] = batch.model_id
    records["profile_id"] = batch.profile_id
    records["source"] = SOURCES[batch.source]
    if batch.file_id is not None:
        records["file_id"] = batch.file_id
    return records


def _microseconds(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Microseconds since 2000, as PostgreSQL counts."""
    counted: NDArray[np.int64] = (times.astype("datetime64[us]") - _EPOCH).astype(np.int64)
    return counted


class _Stream(io.BufferedIOBase):
    """The file that COPY reads: a join of buffers, cut as asked for."""

    def __init__(self, buffers: Iterator[memoryview]) -> None:
        self._buffers = buffers
        self._rest = memoryview(b"")

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._rest:
            # The buffer before may be written over from here on.
            self._rest = next(self._buffers, memoryview(b""))
        give, self._rest = self._rest[:size], self._rest[size:]
        return give.tobytes()
