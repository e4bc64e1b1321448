# ruff: noqa: S608  (statements are put together from words of our own; values are bound, or are numbers)
"""Predictions and outcomes on their way out: which are ready, and their rows as CSV that a Parquet file is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO

from sqlalchemy import Connection, text

from appliance.names import DEMO
from appliance.store.rows import SOURCES

# Whose rows stay here: those of simulated files, and of simulated machines where there is no file.
_REAL = f"NOT starts_with(coalesce(f.origin, m.name), '{DEMO}')"
_FROM = (
    "FROM prediction r JOIN machine m ON m.id = r.machine_id JOIN model v ON v.id = r.model_id"
    " LEFT JOIN file f ON f.id = r.file_id"
)
_MICROSECONDS = "(extract(epoch FROM {0}) * 1000000)::bigint AS {1}"
PLAIN = ("id", "predicted_at", "read_at", "machine", "file_id", "row", "model_version", "source", "probability",
         "failing", "late", "outside")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Horizon:
    """``last_id``: every prediction up to it is either durable or will never be, once all transactions before
    ``transaction`` have ended."""

    last_id: int
    transaction: int


@dataclass(frozen=True, slots=True)
class Group:
    """Predictions of one model on one day (UTC), within a range of ids."""

    profile_id: int
    profile: str
    document: Mapping[str, Any]
    model_id: int
    version: str
    features: Sequence[str]
    modes: Sequence[str]
    day: date
    rows: int


def horizon(conn: Connection) -> Horizon:
    """How far predictions may be read, by and by.

    Ids are taken from the sequence before their rows are committed, so the newest visible id says nothing about those
    before it. Whoever took one of up to ``last_id`` had a transaction number then, and ours is higher.
    """
    last, taken = conn.execute(text("SELECT last_value, is_called FROM prediction_id")).one()
    transaction = conn.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
    return Horizon(int(last) if taken else 0, int(transaction))


def is_settled(conn: Connection, seen: Horizon) -> bool:
    """Whether every transaction before the horizon's has ended."""
    oldest = conn.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")).scalar_one()
    return int(oldest) >= seen.transaction


def mark(conn: Connection) -> tuple[int, datetime | None]:
    """The last id that was put into the outbox, and when."""
    found = conn.execute(text("SELECT last_id, moved_at FROM outbox_mark WHERE layer = 'predictions'")).first()
    return (0, None) if found is None else (found.last_id, found.moved_at)


def move_mark(conn: Connection, last_id: int) -> None:
    conn.execute(
        text(
            "INSERT INTO outbox_mark (layer, last_id, moved_at) VALUES ('predictions', :last, clock_timestamp())"
            " ON CONFLICT (layer) DO UPDATE SET last_id = excluded.last_id, moved_at = excluded.moved_at"
        ),
        {"last": last_id},
    )


def first_after(conn: Connection, last_id: int) -> int | None:
    """The lowest id behind that one; None where there is none."""
    found = conn.execute(text("SELECT min(id) FROM prediction WHERE id > :last"), {"last": last_id}).scalar()
    return None if found is None else int(found)


def groups(conn: Connection, first: int, last: int) -> list[Group]:
    """Which files the predictions of these ids (both included) make."""
    found = conn.execute(
        text(
            "SELECT n.profile_id, p.name AS profile, p.document, n.model_id, v.version, v.features, v.modes, n.day, n.rows"
            " FROM (SELECT r.profile_id, r.model_id, (r.predicted_at AT TIME ZONE 'UTC')::date AS day, count(*) AS rows"
            f" {_FROM} WHERE r.id BETWEEN :first AND :last AND {_REAL} GROUP BY 1, 2, 3) AS n"
            " JOIN profile p ON p.id = n.profile_id JOIN model v ON v.id = n.model_id ORDER BY 1, 4, 8"
        ),
        {"first": first, "last": last},
    )
    return [Group(**row) for row in found.mappings()]


def copy_predictions(conn: Connection, group: Group, first: int, last: int, target: BinaryIO) -> None:
    """Their rows as CSV with a header: :data:`PLAIN`, then ``f1``, ``f2``, ... and ``m1``, ``m2``, ...; times are
    microseconds since 1970, yes and no are 1 and 0."""
    sources = " ".join(f"WHEN {number} THEN '{name}'" for name, number in SOURCES.items())
    columns = [
        "r.id",
        _MICROSECONDS.format("r.predicted_at", "predicted_at"),
        _MICROSECONDS.format("r.read_at", "read_at"),
        "m.name AS machine",
        "r.file_id",
        'r.row AS "row"',
        "v.version AS model_version",
        f"CASE r.source {sources} END AS source",
        "r.probability",
        "r.failing::int AS failing",
        "r.flags & 1 AS late",
        "(r.flags & 2) >> 1 AS outside",
        *(f"r.features[{n}] AS f{n}" for n in range(1, len(group.features) + 1)),
        *(f"r.modes[{n}] AS m{n}" for n in range(1, len(group.modes) + 1)),
    ]
    day = group.day.isoformat()
    query = (
        f"SELECT {', '.join(columns)} {_FROM} WHERE r.id BETWEEN {int(first)} AND {int(last)}"
        f" AND r.profile_id = {int(group.profile_id)} AND r.model_id = {int(group.model_id)}"
        f" AND (r.predicted_at AT TIME ZONE 'UTC')::date = DATE '{day}' AND {_REAL} ORDER BY r.id"
    )
    _copy(conn, query, target)


def put_predictions(conn: Connection, group: Group, first: int, last: int, path: str, size: int, sha256: str) -> None:
    conn.execute(
        text(
            "INSERT INTO outbox (layer, profile_id, model_id, day, first_id, last_id, path, size, sha256) VALUES"
            " ('predictions', :profile, :model, :day, :first, :last, :path, :size, :sha256)"
        ),
        {"profile": group.profile_id, "model": group.model_id, "day": group.day, "first": first, "last": last}
        | {"path": path, "size": size, "sha256": sha256},
    )  # fmt: skip


# An outcome belongs to the object that it went into, so one that is committed late is not passed over.
_OUTCOMES = (
    "FROM outcome o JOIN machine m ON m.id = o.machine_id JOIN profile p ON p.id = m.profile_id"
    f" WHERE NOT starts_with(m.name, '{DEMO}') AND "
)
_TOLD_DAY = "(o.created_at AT TIME ZONE 'UTC')::date"


def outcomes(conn: Connection, outbox_id: int | None) -> list[dict[str, Any]]:
    """Outcomes of one object, None: of none yet; by profile, day and id. Who told them stays here."""
    found = conn.execute(
        text(
            f"SELECT p.id AS profile_id, p.name AS profile, {_TOLD_DAY} AS day, o.id, m.name AS machine, o.alarm_id,"
            f" o.happened_at, o.kind, o.note, o.predicted::text AS predicted, o.created_at {_OUTCOMES}"
            f" {'o.outbox_id IS NULL' if outbox_id is None else 'o.outbox_id = :id'} ORDER BY 1, 3, 4"
        ),
        {} if outbox_id is None else {"id": outbox_id},
    )
    return [dict(row) for row in found.mappings()]


def put_outcomes(
    conn: Connection, profile_id: int, day: date, ids: Sequence[int], path: str, size: int, sha256: str
) -> None:
    """Put their object in, and have them belong to it."""
    outbox_id = conn.execute(
        text(
            "INSERT INTO outbox (layer, profile_id, day, path, size, sha256) VALUES"
            " ('outcomes', :profile, :day, :path, :size, :sha256) RETURNING id"
        ),
        {"profile": profile_id, "day": day, "path": path, "size": size, "sha256": sha256},
    ).scalar_one()
    conn.execute(
        text("UPDATE outcome SET outbox_id = :outbox WHERE id = ANY(CAST(:ids AS bigint[]))"),
        {"outbox": outbox_id, "ids": list(ids)},
    )


def _copy(conn: Connection, query: str, target: BinaryIO) -> None:
    cursor = conn.connection.cursor()
    try:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", target, size=1 << 20)
    finally:
        cursor.close()
