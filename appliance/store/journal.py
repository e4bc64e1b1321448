"""What was done when: runs of the schedule, and events that a person may ask about later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from appliance.store import notices
from appliance.store import tables as t
from appliance.store.rows import RunKind, RunOutcome, Severity


def run_started(conn: Connection, kind: RunKind, counts: Mapping[str, Any] | None = None) -> int:
    values = {"kind": kind, "counts": dict(counts or {})}
    return int(conn.execute(insert(t.run).values(**values).returning(t.run.c.id)).scalar_one())


def run_finished(conn: Connection, run_id: int, outcome: RunOutcome, counts: Mapping[str, Any], why: str = "") -> None:
    conn.execute(
        update(t.run)
        .where(t.run.c.id == run_id)
        .values(finished_at=func.clock_timestamp(), outcome=outcome, counts=dict(counts), why=why or None)
    )


def run_skipped(conn: Connection, kind: RunKind, why: str) -> int:
    """A run that found nothing to do."""
    run_id = run_started(conn, kind)
    run_finished(conn, run_id, "skipped", {}, why)
    return run_id


def event(
    conn: Connection,
    kind: str,
    severity: Severity,
    message: str,
    details: Mapping[str, Any] | None = None,
    profile_id: int | None = None,
) -> int:
    """Something that a person may ask about later; ``kind`` is a stable word. Of an error people are told."""
    values = {"kind": kind, "severity": severity, "message": message, "details": dict(details or {})}
    statement = insert(t.event).values(**values, profile_id=profile_id).returning(t.event.c.id)
    event_id = int(conn.execute(statement).scalar_one())
    if severity == "error":
        notices.add(conn, "event", event_id)
    return event_id


def event_once(
    conn: Connection,
    kind: str,
    severity: Severity,
    message: str,
    details: Mapping[str, Any],
    profile_id: int | None = None,
) -> int | None:
    """The same, where none of that kind has the same ``details`` within a day: what is met again every minute is news
    only once."""
    e = t.event.c
    day = func.clock_timestamp() - text("interval '1 day'")
    said = select(e.id).where(e.kind == kind, e.details == dict(details), e.at > day).limit(1)
    if conn.execute(said).first() is not None:
        return None
    return event(conn, kind, severity, message, details, profile_id)
