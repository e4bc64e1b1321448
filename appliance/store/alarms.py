"""Alarms and outcomes: an episode opens, goes on, is acknowledged, and closes; a person says what really happened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.errors import Conflict, NotFound
from appliance.store import notices
from appliance.store import tables as t
from appliance.store.rows import OutcomeKind


def open_alarm(
    conn: Connection,
    machine_id: int,
    at: datetime,
    rows: int,
    probability: float,
    prediction_id: int | None,
    details: Mapping[str, Any],
) -> int:
    """Open an episode: ``rows`` failing rows so far, ``probability`` the highest. Conflict where one is open.

    People are told of it, once.
    """
    values = {
        "machine_id": machine_id,
        "opened_at": at,
        "last_seen_at": at,
        "rows": rows,
        "probability": probability,
        "first_prediction_id": prediction_id,
        "last_prediction_id": prediction_id,
        "details": dict(details),
    }
    try:
        with conn.begin_nested():
            alarm_id = int(conn.execute(insert(t.alarm).values(**values).returning(t.alarm.c.id)).scalar_one())
    except IntegrityError as error:
        if "ix_alarm_open" not in str(error.orig):
            raise
        raise Conflict(f"Machine {machine_id} has an open alarm already.") from error
    notices.add(conn, "alarm", alarm_id)
    return alarm_id


def update_alarm(
    conn: Connection,
    alarm_id: int,
    at: datetime,
    rows: int,
    probability: float,
    prediction_id: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """The open episode goes on with ``rows`` more failing rows. Conflict where it was closed."""
    a = t.alarm.c
    values: dict[str, Any] = {
        # The clock may have been set back since.
        "last_seen_at": func.greatest(a.last_seen_at, at),
        "rows": a.rows + rows,
        "probability": func.greatest(a.probability, probability),
        "last_prediction_id": func.coalesce(prediction_id, a.last_prediction_id),
    }
    if details is not None:
        values["details"] = dict(details)
    _change_open(conn, alarm_id, values)


def acknowledge(conn: Connection, alarm_id: int, by: str, note: str = "") -> None:
    """Somebody has seen it. Done again, the first one stays, and the note is the newer. NotFound, Conflict (closed)."""
    a = t.alarm.c
    values: dict[str, Any] = {
        "acknowledged_at": func.coalesce(a.acknowledged_at, func.clock_timestamp()),
        "acknowledged_by": func.coalesce(a.acknowledged_by, by),
    }
    if note:
        values["note"] = note
    _change_open(conn, alarm_id, values)


def snooze(conn: Connection, alarm_id: int, until: datetime) -> None:
    """Nobody is told of it until then."""
    _change_open(conn, alarm_id, {"snoozed_until": until})


def close(conn: Connection, alarm_id: int, reason: Literal["calm", "outcome"]) -> None:
    """The episode is over; the machine's state forgets it."""
    _change_open(conn, alarm_id, {"closed_at": func.clock_timestamp(), "close_reason": reason})
    s = t.machine_state.c
    conn.execute(update(t.machine_state).where(s.alarm_id == alarm_id).values(alarm_id=None))


def record_outcome(
    conn: Connection,
    machine_id: int,
    at: datetime,
    kind: OutcomeKind,
    who: str,
    note: str = "",
    predicted: Mapping[str, Any] | None = None,
    alarm_id: int | None = None,
) -> int:
    """What happened to the machine, with a copy of what was predicted (predictions may be gone one day)."""
    values: dict[str, Any] = {"machine_id": machine_id, "alarm_id": alarm_id, "happened_at": at, "kind": kind}
    values |= {"who": who, "note": note, "predicted": None if predicted is None else dict(predicted)}
    return int(conn.execute(insert(t.outcome).values(**values).returning(t.outcome.c.id)).scalar_one())


def _change_open(conn: Connection, alarm_id: int, values: Mapping[str, Any]) -> None:
    a = t.alarm.c
    done = conn.execute(update(t.alarm).where(a.id == alarm_id, a.closed_at.is_(None)).values(**values))
    if done.rowcount == 1:
        return
    if conn.execute(select(a.id).where(a.id == alarm_id)).first() is None:
        raise NotFound(f"There is no alarm {alarm_id}.")
    raise Conflict(f"Alarm {alarm_id} is closed.")
