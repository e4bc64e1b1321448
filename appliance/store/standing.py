"""The box in figures, for `appliance status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Archiving:
    """Of the log of changes. ``failing``: the newest part could not be copied; ``idle``: since the newest that was, or
    since figures are kept."""

    failing: bool
    idle: timedelta


def archiving(conn: Connection) -> Archiving | None:
    """How copying PostgreSQL's log of changes away stands; None where it is not copied."""
    row = conn.execute(
        text(
            "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing,"
            " clock_timestamp() - coalesce(last_archived_time, stats_reset) AS idle FROM pg_stat_archiver"
            " WHERE current_setting('archive_mode') <> 'off'"
        )
    ).first()
    return None if row is None else Archiving(row.failing, row.idle)


def passes(conn: Connection) -> list[dict[str, Any]]:
    """The newest run of each kind: kind, started_at, finished_at, outcome, why, age (seconds), worked_ago (seconds since
    one ended without failing; None: never)."""
    found = conn.execute(
        text(
            "SELECT last.kind, last.started_at, last.finished_at, last.outcome, last.why,"
            " extract(epoch FROM clock_timestamp() - last.started_at)::float8 AS age,"
            " (SELECT extract(epoch FROM clock_timestamp() - ok.finished_at)::float8 FROM run ok"
            " WHERE ok.kind = last.kind AND ok.outcome IN ('done', 'skipped') ORDER BY ok.id DESC LIMIT 1) AS worked_ago"
            " FROM (VALUES ('ingest'), ('predict'), ('maintain'), ('sync'), ('audit'),"
            " ('backup'), ('drill')) AS wanted (kind)"
            " CROSS JOIN LATERAL (SELECT * FROM run WHERE run.kind = wanted.kind ORDER BY id DESC LIMIT 1) AS last"
        )
    )
    return [dict(row) for row in found.mappings()]


def ages(conn: Connection) -> dict[str, float | None]:
    """Seconds since the newest arrival and the newest scheduled prediction; None where there is none."""
    row = conn.execute(
        text(
            "SELECT extract(epoch FROM clock_timestamp() -"
            " (SELECT arrived_at FROM file ORDER BY id DESC LIMIT 1))::float8 AS file,"
            " extract(epoch FROM clock_timestamp() - (SELECT predicted_at FROM part"
            " WHERE predicted_at IS NOT NULL ORDER BY id DESC LIMIT 1))::float8 AS prediction"
        )
    ).one()
    return dict(row._mapping)


def open_alarms(conn: Connection) -> list[dict[str, Any]]:
    """Machines in alarm: profile, machine, opened_at, details, acknowledged_by; the oldest first."""
    found = conn.execute(
        text(
            "SELECT profile.name AS profile, m.name AS machine, a.opened_at, a.details, a.acknowledged_by FROM alarm a"
            " JOIN machine m ON m.id = a.machine_id JOIN profile ON profile.id = m.profile_id"
            " WHERE a.closed_at IS NULL ORDER BY a.opened_at"
        )
    )
    return [dict(row) for row in found.mappings()]


def database_bytes(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
