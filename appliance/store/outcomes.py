# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""Alarms and what was told of them: what decides about an outcome, and how good the warnings were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from appliance.names import DEMO

# Of several outcomes of an alarm the last one counts: people correct themselves.
_KIND = "(SELECT o.kind FROM outcome o WHERE o.alarm_id = a.id ORDER BY o.id DESC LIMIT 1) AS kind"
_ALARM = (
    "SELECT a.id, a.machine_id, m.name AS machine, profile.name AS profile, a.opened_at, a.last_seen_at, a.closed_at,"
    f" a.probability, a.first_prediction_id, a.last_prediction_id, a.details, {_KIND}"
    " FROM alarm a JOIN machine m ON m.id = a.machine_id JOIN profile ON profile.id = m.profile_id"
)
_RECORD = f"""
    WITH ended AS (
        SELECT machine_id, count(*) AS alarms,
            count(*) FILTER (WHERE kind = 'failure') AS "right",
            count(*) FILTER (WHERE kind = 'false_alarm') AS "false",
            count(*) FILTER (WHERE kind = 'planned_work') AS planned,
            count(*) FILTER (WHERE kind IS NULL AND closed_at IS NOT NULL) AS unanswered,
            count(*) FILTER (WHERE kind IS NULL AND closed_at IS NULL) AS open
        FROM (SELECT a.machine_id, a.closed_at, {_KIND} FROM alarm a
            WHERE a.opened_at >= coalesce(CAST(:from_ AS timestamptz), '-infinity')
            AND a.opened_at < coalesce(CAST(:to AS timestamptz), 'infinity')) AS alarm
        GROUP BY machine_id
    ), missed AS (
        SELECT machine_id, count(*) AS missed FROM outcome
        WHERE alarm_id IS NULL AND kind IN ('failure', 'missed_failure')
        AND happened_at >= coalesce(CAST(:from_ AS timestamptz), '-infinity')
        AND happened_at < coalesce(CAST(:to AS timestamptz), 'infinity')
        GROUP BY machine_id
    )
    SELECT profile.name AS profile, m.name AS machine, coalesce(alarms, 0) AS alarms, coalesce("right", 0) AS "right",
        coalesce("false", 0) AS "false", coalesce(planned, 0) AS planned, coalesce(unanswered, 0) AS unanswered,
        coalesce(open, 0) AS open, coalesce(missed, 0) AS missed
    FROM machine m JOIN profile ON profile.id = m.profile_id
    LEFT JOIN ended ON ended.machine_id = m.id LEFT JOIN missed ON missed.machine_id = m.id
    WHERE profile.name = coalesce(:profile, profile.name)
    AND (m.name = :machine OR (:machine IS NULL AND NOT starts_with(m.name, :demo)))
    AND (alarms IS NOT NULL OR missed IS NOT NULL) ORDER BY profile.name, m.name
"""


def alarm(conn: Connection, alarm_id: int) -> dict[str, Any] | None:
    """One alarm: id, machine_id, machine, profile, times, probability, its predictions, details; ``kind`` is what was
    told of it last, None before that."""
    found = conn.execute(text(f"{_ALARM} WHERE a.id = :id"), {"id": alarm_id}).mappings().first()
    return None if found is None else dict(found)


def alarms_of(conn: Connection, machine_id: int, most: int = 10) -> list[dict[str, Any]]:
    """The newest alarms of a machine, the newest first."""
    query = text(f"{_ALARM} WHERE a.machine_id = :machine ORDER BY a.id DESC LIMIT :most")
    return [dict(row) for row in conn.execute(query, {"machine": machine_id, "most": most}).mappings()]


def record(
    conn: Connection,
    *,
    profile: str | None = None,
    machine: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
) -> list[dict[str, Any]]:
    """How alarms turned out, by machine: alarms, right, false, planned, unanswered, open; and missed failures.

    Alarms count by when they opened, missed failures (those without an alarm) by when they happened: ``from_`` included,
    ``to`` not. Machines without any of it are left out, and simulated ones unless one is named.
    """
    asked = {"profile": profile, "machine": machine, "from_": from_, "to": to, "demo": DEMO}
    return [dict(row) for row in conn.execute(text(_RECORD), asked).mappings()]
