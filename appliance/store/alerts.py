"""What Grafana's rules find: noted once an episode, as an event that people are told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from appliance.store import journal

FIRING, OVER = "alert", "alert_over"

# Of the drill's own rows; of the box as a whole, while one is under way.
Drill = Literal["", "rows", "meanwhile"]

_LOCK = 0x616C657274  # "alert"
_NOTED = text(
    "SELECT 1 FROM event WHERE kind = :kind AND details ->> 'fingerprint' = :fingerprint"
    " AND details ->> 'since' = :since LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Alert:
    """``fingerprint`` and ``since`` are those of its episode, by which a repetition is known. ``said`` and ``action``:
    what is so, and what to do."""

    rule: str
    title: str
    fingerprint: str
    since: datetime
    said: str
    action: str
    drill: Drill = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def fires(conn: Connection, alert: Alert) -> bool:
    """Note it, so that people are told; False where that was done."""
    return _note(conn, FIRING, alert)


def is_over(conn: Connection, alert: Alert) -> bool:
    """Note the end of an episode that was noted; False where there is none, or its end was noted."""
    return _is_noted(conn, FIRING, alert) and _note(conn, OVER, alert)


def _note(conn: Connection, kind: str, alert: Alert) -> bool:
    # Grafana sends again what took long to be answered: two of a kind wait here for each other.
    conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if _is_noted(conn, kind, alert):
        return False
    details = {
        "rule": alert.rule,
        "title": alert.title,
        "fingerprint": alert.fingerprint,
        "since": alert.since.isoformat(),
        "action": alert.action,
        "drill": alert.drill,
        "labels": dict(alert.labels),
    }
    if kind == FIRING:
        journal.event(conn, kind, "error", alert.said, details)
    else:
        journal.event(conn, kind, "info", f"Over: {alert.said}", details)
    return True


def _is_noted(conn: Connection, kind: str, alert: Alert) -> bool:
    episode = {"kind": kind, "fingerprint": alert.fingerprint, "since": alert.since.isoformat()}
    return conn.execute(_NOTED, episode).first() is not None


@dataclass(frozen=True, slots=True)
class Arrived:
    """``notes``: episodes of a rule that were noted; ``sent``: messages of these that went to somebody."""

    notes: int
    sent: int


def clock(conn: Connection) -> datetime:
    """The database's clock, by which events are dated."""
    now: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def arrived(conn: Connection, since: datetime) -> dict[str, Arrived]:
    """What was noted since then, by rule."""
    query = text(
        "SELECT e.details ->> 'rule' AS rule, count(DISTINCT e.id) AS notes, count(d.sent_at) AS sent FROM event e"
        " LEFT JOIN notice n ON n.kind = 'event' AND n.ref_id = e.id LEFT JOIN delivery d ON d.notice_id = n.id"
        " WHERE e.kind = :kind AND e.at >= :since GROUP BY 1"
    )
    return {
        row.rule: Arrived(int(row.notes), int(row.sent))
        for row in conn.execute(query, {"kind": FIRING, "since": since})
    }
