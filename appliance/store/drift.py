"""Counts of predicted rows in bins, by model, machine and day; they are added to in the transaction of the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from appliance.drift import Bins, Counts, chance_factor
from appliance.names import DEMO

_ADD = text(
    "INSERT INTO drift (model_id, machine_id, day, rows, outside, counts)"
    " VALUES (:model, :machine, :day, :rows, :outside, :counts)"
    " ON CONFLICT (model_id, machine_id, day) DO UPDATE SET rows = drift.rows + excluded.rows,"
    " outside = drift.outside + excluded.outside, counts = (SELECT array_agg(old + new ORDER BY place)"
    " FROM unnest(drift.counts, excluded.counts) WITH ORDINALITY AS bin (old, new, place))"
)


def bins(conn: Connection, model_id: int) -> list[Bins]:
    """The bins in which the rows of a model are counted, in the order of its matrix, the score last; empty: none yet."""
    query = text("SELECT name, edges, groups, counts FROM drift_reference WHERE model_id = :model ORDER BY position")
    return [
        Bins(
            row.name,
            np.array(row.edges, dtype=np.float32),
            np.array(row.groups, dtype=np.int16),
            np.array(row.counts, dtype=np.int64),
        )
        for row in conn.execute(query, {"model": model_id})
    ]


def keep_bins(conn: Connection, model_id: int, made: Sequence[Bins]) -> None:
    """Lay down the bins of a model for ever: what is counted later has to fit to what was counted before."""
    rows: list[dict[str, Any]] = []
    first = 1
    for position, one in enumerate(made, start=1):
        edges, groups, counts = one.edges.tolist(), one.groups.tolist(), one.reference.tolist()
        row = {"model": model_id, "position": position, "name": one.name, "first": first, "edges": edges}
        rows.append({**row, "groups": groups, "counts": counts, "chance": chance_factor(one)})
        first += len(one)
    conn.execute(
        text(
            "INSERT INTO drift_reference (model_id, position, name, first, edges, groups, counts, chance)"
            " VALUES (:model, :position, :name, :first, :edges, :groups, :counts, :chance) ON CONFLICT DO NOTHING"
        ),
        rows,
    )


def add(
    conn: Connection,
    model_id: int,
    when: datetime,
    machines: Sequence[int],
    rows: Sequence[int],
    outside: Sequence[int],
    counts: Counts,
) -> None:
    """Add rows to those of that day (UTC); one element, and one row of ``counts``, for each of ``machines``, which
    ascend: two that share machines wait, and never for each other."""
    same = {"model": model_id, "day": when.astimezone(UTC).date()}
    conn.execute(
        _ADD,
        [
            {**same, "machine": machine, "rows": n, "outside": beyond, "counts": mine.tolist()}
            for machine, n, beyond, mine in zip(machines, rows, outside, counts, strict=True)
        ],
    )


def recent(conn: Connection, days: int) -> list[dict[str, Any]]:
    """The models that serve, with the counts of real machines in the last ``days``: profile, model_id, rows, outside,
    counts (sums), and of how many days they are."""
    query = text(
        "SELECT profile.name AS profile, d.model_id, d.day, d.rows, d.outside, d.counts FROM drift d"
        " JOIN model ON model.id = d.model_id AND model.active JOIN profile ON profile.id = model.profile_id"
        " JOIN machine m ON m.id = d.machine_id AND NOT starts_with(m.name, :mark)"
        " WHERE d.day > (clock_timestamp() AT TIME ZONE 'UTC')::date - CAST(:days AS int) ORDER BY profile.name"
    )
    found: dict[int, dict[str, Any]] = {}
    days_of: dict[int, set[date]] = {}
    for row in conn.execute(query, {"mark": DEMO, "days": days}):
        empty = {"profile": row.profile, "model_id": row.model_id, "rows": 0, "outside": 0, "counts": 0}
        sums = found.setdefault(row.model_id, empty)
        sums["rows"] += row.rows
        sums["outside"] += row.outside
        sums["counts"] = sums["counts"] + np.array(row.counts, dtype=np.int64)
        days_of.setdefault(row.model_id, set()).add(row.day)
    return [sums | {"days": len(days_of[model])} for model, sums in found.items()]
