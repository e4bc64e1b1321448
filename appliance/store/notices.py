# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""What people have to be told, and to whom it is on its way.

A notice is written in the transaction of its cause and knows no target. Who sends opens a delivery for each target
that wants it, and ends each: sent, given up (with the error), or not needed any more (without one). A notice is
settled when none of its deliveries is open; until then ``due_at`` is the next moment at which anything is to be tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import insert as upsert

from appliance.notify_causes import AlarmCause, Cause, EventCause, FileCause, NoticeKind, Waiting
from appliance.store import tables as t
from appliance.store.engine import transaction, unlock

# Who waited for so long is not helped by a message any more.
LOST = timedelta(days=30)
# What waits because a line of the setting is wrong is looked at again after so long.
LATER = timedelta(minutes=10)
# No pause is longer than an hour: a moment beyond two was set by a clock that ran ahead.
AHEAD = timedelta(hours=2)
# A file that is refused again in the same way tells nothing new; how many files back that is looked for.
REPEATS = 1000

_LOCK = 0x6E6F74696679  # "notify"
_OPEN = "d.sent_at IS NULL AND d.given_up_at IS NULL"


@dataclass(frozen=True, slots=True)
class Addressee:
    """A target as the database knows it. ``kinds``: the notices that it wants."""

    target: str
    label: str
    kinds: frozenset[NoticeKind]


def add(conn: Connection, kind: NoticeKind, ref_id: int) -> None:
    """People have to be told of it, once. In the transaction of the cause."""
    statement = upsert(t.notice).values(kind=kind, ref_id=ref_id)
    conn.execute(statement.on_conflict_do_nothing(index_elements=["kind", "ref_id"]))


def clock(conn: Connection) -> datetime:
    """The database's clock, by which all moments here are."""
    now: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


@contextmanager
def only_sender(engine: Engine) -> Iterator[Connection | None]:
    """A session for the one that sends; None, at once, where another process is at it.

    The lock is the session's, not a transaction's: the caller begins and ends a transaction for each step on this very
    connection, and none is open while the network is slow. Whoever is killed loses session and lock together, and
    whose session broke off can mark nothing as sent. It is one lock for all targets, so that the messages of an hour
    are counted by one alone.
    """
    with transaction(engine) as connection:
        mine = bool(connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar_one())
        connection.commit()
        try:
            yield connection if mine else None
        finally:
            if mine:
                unlock(connection, _LOCK)


def open_deliveries(
    conn: Connection, addressees: Sequence[Addressee], criticalities: Sequence[str], now: datetime, *, all_known: bool
) -> None:
    """Take up what is new, and let go of what nobody needs to be told any more.

    ``criticalities``: of files that are told of. ``all_known``: every line of the setting could be read; else nothing
    is given up or settled on the ground that no target wants it, for the one that does may be behind the wrong line.
    """
    values = {
        "now": now,
        "ahead": now + AHEAD,
        "lost": now - LOST,
        "criticalities": list(criticalities),
        "repeats": REPEATS,
        "targets": [one.target for one in addressees for _ in one.kinds],
        "labels": [one.label for one in addressees for _ in one.kinds],
        "kinds": [kind for one in addressees for kind in sorted(one.kinds)],
    }
    conn.execute(text(f"UPDATE delivery d SET next_try_at = :now WHERE {_OPEN} AND next_try_at > :ahead"), values)
    conn.execute(text(_LET_GO), values)
    if all_known:
        conn.execute(text(_REMOVED), values)
    conn.execute(text(_LOSE), values)
    conn.execute(text(_ADDRESS), values)
    _settle(conn, now, all_known)


def due(conn: Connection, target: str, now: datetime) -> list[Waiting]:
    """What is to go to the target now, oldest first."""
    query = (
        "SELECT n.id AS notice_id, n.kind, n.created_at, a.id IS NOT NULL AND a.closed_at IS NULL AS is_open"
        " FROM delivery d JOIN notice n ON n.id = d.notice_id"
        " LEFT JOIN alarm a ON n.kind = 'alarm' AND a.id = n.ref_id"
        f" WHERE d.target = :target AND {_OPEN} AND d.next_try_at <= :now ORDER BY n.id"
    )
    return [Waiting(**row._mapping) for row in conn.execute(text(query), {"target": target, "now": now})]


def sent_times(conn: Connection, target: str, since: datetime) -> list[datetime]:
    """When messages went to the target, ascending: all notices of one message bear the same moment."""
    query = "SELECT DISTINCT sent_at FROM delivery WHERE target = :target AND sent_at > :since ORDER BY sent_at"
    return list(conn.execute(text(query), {"target": target, "since": since}).scalars())


def causes(conn: Connection, notice_ids: Sequence[int]) -> dict[int, Cause]:
    """What the notices are of, by notice id; one whose cause was removed is left out."""
    found: dict[int, Cause] = {}
    for query, kind in ((_ALARMS, AlarmCause), (_FILES, FileCause), (_EVENTS, EventCause)):
        for row in conn.execute(text(query), {"ids": list(notice_ids)}).mappings():
            values = dict(row)
            notice_id = values.pop("notice_id")
            if "issues" in values:
                values["issues"] = tuple((rule, column, int(count)) for rule, column, count in values["issues"])
            found[notice_id] = kind(**values)
    return found


def mark_sent(conn: Connection, target: str, notice_ids: Sequence[int], at: datetime) -> None:
    """One message told all these. ``at`` must be another moment than that of the target's message before.

    The target works, so whatever waits for it because it did not is due.
    """
    values = {"target": target, "ids": list(notice_ids), "at": at}
    done = "UPDATE delivery d SET sent_at = :at, error = NULL"
    conn.execute(text(f"{done} WHERE target = :target AND notice_id = ANY(:ids) AND {_OPEN}"), values)
    conn.execute(
        text(f"UPDATE delivery d SET next_try_at = :at WHERE target = :target AND {_OPEN} AND next_try_at > :at"),
        values,
    )


def failures(conn: Connection, target: str) -> int:
    """How often in a row the target did not take what waits for it."""
    query = f"SELECT coalesce(max(tries), 0) FROM delivery d WHERE target = :target AND {_OPEN}"
    return int(conn.execute(text(query), {"target": target}).scalar_one())


def mark_failed(conn: Connection, target: str, notice_ids: Sequence[int], error: str, next_try: datetime) -> None:
    """The message of these did not get through; all that waits for the target waits until ``next_try``."""
    values = {"target": target, "ids": list(notice_ids), "error": error, "at": next_try}
    failed = "UPDATE delivery d SET tries = tries + 1, error = :error"
    conn.execute(text(f"{failed} WHERE target = :target AND notice_id = ANY(:ids) AND {_OPEN}"), values)
    conn.execute(text(f"UPDATE delivery d SET next_try_at = :at WHERE target = :target AND {_OPEN}"), values)


def postpone(conn: Connection, target: str, notice_ids: Sequence[int], until: datetime) -> None:
    """These wait until then: the hour's messages are used up."""
    query = f"UPDATE delivery d SET next_try_at = :at WHERE target = :target AND notice_id = ANY(:ids) AND {_OPEN}"
    conn.execute(text(query), {"target": target, "ids": list(notice_ids), "at": until})


def finish(conn: Connection, now: datetime, *, all_known: bool) -> None:
    """Settle what is told, and say of the rest when it is to be looked at again."""
    _settle(conn, now, all_known)
    conn.execute(
        text(
            "UPDATE notice n SET due_at = w.at FROM"
            f" (SELECT d.notice_id, min(d.next_try_at) AS at FROM delivery d WHERE {_OPEN} GROUP BY 1) w"
            " WHERE n.id = w.notice_id AND n.settled_at IS NULL AND n.due_at <> w.at"
        )
    )
    waits = f"NOT EXISTS (SELECT FROM delivery d WHERE d.notice_id = n.id AND {_OPEN})"
    conn.execute(
        text(f"UPDATE notice n SET due_at = :later WHERE settled_at IS NULL AND due_at <= :now AND {waits}"),
        {"now": now, "later": now + LATER},
    )


def waiting_count(conn: Connection) -> int:
    """Notices that somebody is still to be told."""
    return int(conn.execute(text("SELECT count(*) FROM notice WHERE settled_at IS NULL")).scalar_one())


def overdue(conn: Connection, created_before: datetime) -> tuple[int, datetime | None]:
    """How many notices of before then nobody or not everybody was told, and the moment of the oldest."""
    query = "SELECT count(*), min(created_at) FROM notice WHERE settled_at IS NULL AND created_at < :before"
    number, oldest = conn.execute(text(query), {"before": created_before}).one()
    return int(number), oldest


def given_up(conn: Connection, targets: Sequence[str], since: datetime) -> int:
    """Messages to these targets that were given up since then."""
    query = "SELECT count(*) FROM delivery WHERE given_up_at >= :since AND error IS NOT NULL AND target = ANY(:targets)"
    return int(conn.execute(text(query), {"since": since, "targets": list(targets)}).scalar_one())


def listed(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Deliveries, those that wait first, then the newest; a notice without any stands with the target None."""
    query = (
        "SELECT n.id AS notice_id, n.kind, n.ref_id, n.created_at, d.label AS target, d.tries, d.sent_at, d.error,"
        " CASE WHEN d.notice_id IS NULL AND n.settled_at IS NOT NULL THEN 'nobody' WHEN d.sent_at IS NOT NULL THEN 'sent'"
        " WHEN d.given_up_at IS NULL THEN 'waiting' WHEN d.error IS NULL THEN 'not needed' ELSE 'given up' END AS state,"
        f" CASE WHEN {_OPEN} AND n.settled_at IS NULL THEN coalesce(d.next_try_at, n.due_at) END AS next_try_at"
        " FROM notice n LEFT JOIN delivery d ON d.notice_id = n.id"
        " ORDER BY n.settled_at IS NOT NULL, n.id DESC, d.label LIMIT :limit"
    )
    return [dict(row) for row in conn.execute(text(query), {"limit": limit}).mappings()]


def _settle(conn: Connection, now: datetime, all_known: bool) -> None:
    told = "" if all_known else " AND EXISTS (SELECT FROM delivery d WHERE d.notice_id = n.id)"
    conn.execute(
        text(
            "UPDATE notice n SET settled_at = :now WHERE settled_at IS NULL"
            f" AND NOT EXISTS (SELECT FROM delivery d WHERE d.notice_id = n.id AND {_OPEN}){told}"
        ),
        {"now": now},
    )


# Alarms that somebody knows of already, files that are told of no more by the settings, what was removed since, and
# what an exporter that writes the same hopeless file over and over told before.
_LET_GO = f"""
WITH gone AS (
    SELECT n.id FROM notice n
    LEFT JOIN alarm a ON n.kind = 'alarm' AND a.id = n.ref_id
    LEFT JOIN file f ON n.kind = 'file' AND f.id = n.ref_id
    LEFT JOIN event e ON n.kind = 'event' AND e.id = n.ref_id
    WHERE n.settled_at IS NULL AND (
        coalesce(a.id, f.id, e.id) IS NULL
        OR a.acknowledged_at IS NOT NULL
        OR a.snoozed_until > :now
        OR (f.id IS NOT NULL AND f.criticality <> ALL(CAST(:criticalities AS text[])))
        OR (f.state = 'quarantined' AND NOT EXISTS (SELECT FROM delivery d WHERE d.notice_id = n.id) AND EXISTS (
            SELECT FROM file g WHERE g.id < f.id AND g.id >= f.id - :repeats AND g.state = 'quarantined'
            AND (g.profile_id, g.origin, g.name, g.sha256, g.reason)
              = (f.profile_id, f.origin, f.name, f.sha256, f.reason)))
    )
), ended AS (
    UPDATE delivery d SET given_up_at = :now, error = NULL FROM gone WHERE d.notice_id = gone.id AND {_OPEN}
)
UPDATE notice n SET settled_at = :now FROM gone WHERE n.id = gone.id
"""

_REMOVED = f"""
UPDATE delivery d SET given_up_at = :now, error = 'This target is not among the settings any more.'
WHERE {_OPEN} AND target <> ALL(CAST(:targets AS text[]))
"""

_LOSE = f"""
WITH lost AS (
    UPDATE delivery d SET given_up_at = :now, error = coalesce(d.error, 'It was not tried in all this time.')
    FROM notice n WHERE n.id = d.notice_id AND n.created_at < :lost AND {_OPEN}
)
UPDATE notice SET settled_at = :now WHERE settled_at IS NULL AND created_at < :lost
"""

# Whom nobody told of anything yet is told by whoever is set now, also where all targets were exchanged meanwhile. A
# target that does not answer is left alone by new messages too, but for an alarm: that is worth a try.
_ADDRESS = f"""
INSERT INTO delivery (notice_id, target, label, next_try_at)
SELECT n.id, w.target, w.label, CASE WHEN n.kind = 'alarm' THEN :now ELSE coalesce(p.until, :now) END
FROM notice n
JOIN unnest(CAST(:targets AS text[]), CAST(:labels AS text[]), CAST(:kinds AS text[])) AS w (target, label, kind)
  ON w.kind = n.kind
LEFT JOIN (
    SELECT d.target, max(d.next_try_at) AS until FROM delivery d WHERE {_OPEN} AND d.tries > 0 GROUP BY 1
) p ON p.target = w.target
WHERE n.settled_at IS NULL
AND NOT EXISTS (SELECT FROM delivery d WHERE d.notice_id = n.id AND (d.sent_at IS NOT NULL OR d.given_up_at IS NULL))
ON CONFLICT (notice_id, target)
DO UPDATE SET given_up_at = NULL, error = NULL, tries = 0, label = excluded.label, next_try_at = excluded.next_try_at
"""

_ALARMS = """
SELECT n.id AS notice_id, m.name AS machine, profile.name AS profile, a.opened_at, a.probability,
    a.first_prediction_id, a.details, a.closed_at, a.close_reason
FROM notice n JOIN alarm a ON a.id = n.ref_id JOIN machine m ON m.id = a.machine_id
JOIN profile ON profile.id = m.profile_id
WHERE n.kind = 'alarm' AND n.id = ANY(:ids)
"""

_FILES = """
SELECT n.id AS notice_id, f.id AS file_id, f.name, f.origin, profile.name AS profile, f.arrived_at, f.rows_in,
    f.rows_bad, f.reason, f.sentence, f.report_path IS NOT NULL AS has_report,
    coalesce((SELECT jsonb_agg(jsonb_build_array(q.rule, q.column_name, q.count)) FROM (
        SELECT rule, column_name, count FROM quality_issue WHERE file_id = f.id AND count > 0
        ORDER BY count DESC, rule, column_name LIMIT 3) q), '[]') AS issues
FROM notice n JOIN file f ON f.id = n.ref_id JOIN profile ON profile.id = f.profile_id
WHERE n.kind = 'file' AND n.id = ANY(:ids)
"""

_EVENTS = """
SELECT n.id AS notice_id, e.kind, e.message, e.at,
    CASE WHEN jsonb_typeof(e.details -> 'file_id') = 'number' THEN CAST(e.details ->> 'file_id' AS bigint) END AS file_id,
    e.details
FROM notice n JOIN event e ON e.id = n.ref_id
WHERE n.kind = 'event' AND n.id = ANY(:ids)
"""
