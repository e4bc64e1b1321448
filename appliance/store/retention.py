# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""What is removed for its age, a bounded piece at a time, and never what the accounts of rows need.

Files, their parts, and the arrivals that brought them stay for ever: they are few, and they are the books.

No clock is believed alone. One that leaps ahead makes nothing old: ages grow by some days a night at most. What was dated
while a clock was behind is as young as its number: nothing goes whose number is above that of something to be kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from appliance.store import journal, runs
from appliance.store.accounts import REMOVED

# Rows that one transaction removes: a second's work, and little to do again after a kill.
PIECE = 10_000
REQUEST_DAYS = 7
_PARTITION = re.compile(r"prediction_(\d{4})_(\d{2})")
# A box that was switched off for long catches up within as many nights as weeks.
_DAYS_A_NIGHT = timedelta(days=7)
# An empty battery dates what comes 1970, or by the firmware: nothing of ours is older than this.
_BORN = datetime(2020, 1, 1, tzinfo=UTC)
_ALL = (1 << 63) - 1
# Others who wait for predictions wait behind whoever waits for the lock of them all: not for long.
_LOCK_WAIT = "2s"


@dataclass(frozen=True, slots=True)
class Month:
    """A partition of predictions: those from ``start`` (included) to ``end`` (not), UTC."""

    name: str
    start: datetime
    end: datetime


# What is told of nobody any more; each row has an id, and the books know nothing of it.
_OLD: Mapping[str, str] = {
    # The newest of each kind and step stays: who asks for the last run gets an answer.
    "runs": "run WHERE finished_at < :before AND id NOT IN (SELECT max(id) FROM run GROUP BY kind, counts ->> 'step')",
    "metrics": "metric WHERE at < :before",
    # Their deliveries go with them.
    "notices": "notice WHERE settled_at < :before",
    # Those that somebody is still to be told of stay, and those that later events are judged by.
    "events": "event e WHERE at < :before AND NOT EXISTS (SELECT FROM notice n WHERE n.kind = 'event'"
    " AND n.ref_id = e.id AND n.settled_at IS NULL) AND NOT (kind = ANY(:remembered) AND id >="
    " (SELECT max(id) FROM event l WHERE l.kind = e.kind AND coalesce(l.details ->> 'run', '')"
    " = coalesce(e.details ->> 'run', '') AND coalesce(l.details ->> 'step', '') = coalesce(e.details ->> 'step', '')))",
    "drift": "drift WHERE day < CAST(:before AS timestamptz)::date",
    "arrivals": "arrival WHERE state IN ('duplicate', 'abandoned') AND cleared_at < :before",
}
# Which column says how old each of them is.
_DATED = {"runs": "run finished_at", "metrics": "metric at", "notices": "notice settled_at", "events": "event at",
          "drift": "drift day", "arrivals": "arrival cleared_at"}  # fmt: skip
REMEMBERED = (REMOVED, runs.FAILED, runs.RECOVERED)


def months(conn: Connection) -> list[Month]:
    """The partitions that there are, oldest first."""
    query = "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    names = conn.execute(text(f"{query} WHERE i.inhparent = 'prediction'::regclass ORDER BY 1")).scalars()
    found = []
    for name in names:
        if match := _PARTITION.fullmatch(name):
            start = datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
            found.append(Month(name, start, (start + timedelta(days=31)).replace(day=1)))
    return found


def make_ahead(conn: Connection) -> None:
    """See that this month and the next have their partitions, so that no prediction has to wait for one."""
    from appliance.store.writer import ensure_partition

    now = now_of(conn)
    ensure_partition(conn, now)
    ensure_partition(conn, (now.replace(day=1) + timedelta(days=31)).replace(day=1), ahead=0)


def drop_month(conn: Connection, month: Month, why: str = "for their age") -> None:
    """Remove a month's predictions, and put that on record, which the accounts need. Conflict where others hold it."""
    conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
    # The partition alone is dropped, by its own name: what stands in it has no other.
    conn.execute(text(f"DROP TABLE {month.name}"))
    conn.execute(text("DELETE FROM prediction_hour WHERE hour < :end"), {"end": month.end})
    earlier = text("SELECT max((details ->> 'before')::timestamptz) FROM event WHERE kind = :kind")
    before = conn.execute(earlier, {"kind": REMOVED}).scalar()
    said = f"The predictions of {month.start:%Y-%m} were removed {why}."
    details = {"month": f"{month.start:%Y-%m}", "before": max(month.end, before or month.end)}
    journal.event(conn, REMOVED, "info", said, details)
    conn.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def days_left(conn: Connection) -> float | None:
    """In how many days the disk is full at the pace of the last seven; None where that cannot be said."""
    found = conn.execute(text("SELECT days_left FROM report.disk")).scalar()
    return None if found is None else float(found)


def size_of(conn: Connection, month: Month) -> int:
    """Bytes of a month's predictions with their indexes."""
    query = text("SELECT pg_total_relation_size(to_regclass(:name))")
    return int(conn.execute(query, {"name": month.name}).scalar_one())


def lived(conn: Connection, step: str) -> tuple[datetime, datetime]:
    """The clock as far as ages may be told by it, and what is to be remembered of that as the ``clock`` of this step."""
    now = now_of(conn)
    query = text(
        "SELECT max(CAST(counts ->> 'clock' AS timestamptz)) FROM run WHERE kind = 'maintain' AND counts ->> 'step' = :step"
    )
    before = conn.execute(query, {"step": step}).scalar()
    reached = now if before is None else max(before, min(now, before + _DAYS_A_NIGHT)).astimezone(UTC)
    return min(now, reached), reached


def old_months(conn: Connection, last: datetime) -> list[Month]:
    """Months before ``last`` whose predictions are all older than the first that is kept; the oldest first."""
    found = [month for month in months(conn) if month.end <= last]
    if not found:
        return []
    young = text("SELECT min(id) FROM prediction WHERE predicted_at >= :last AND predicted_at <= clock_timestamp()")
    first = conn.execute(young, {"last": last}).scalar()
    newest = {
        month.name: conn.execute(text(f"SELECT coalesce(max(id), 0) FROM {month.name}")).scalar_one() for month in found
    }
    known = max((newest[month.name] for month in found if month.start >= _BORN), default=0)
    return [
        month
        for month in found
        if newest[month.name] < (_ALL if first is None else first)
        and (month.start >= _BORN or newest[month.name] <= known)
    ]


def old_arrivals(conn: Connection, first: date) -> Callable[[int, date], bool]:
    """Says of an arrival's number and day whether it came before ``first``, by its number too."""
    bounds = text(
        "SELECT (SELECT min(id) FROM arrival WHERE arrived_at >= :first AND arrived_at <= clock_timestamp()) AS young,"
        " (SELECT max(id) FROM arrival WHERE arrived_at >= :born AND arrived_at < :first) AS old"
    )
    start = datetime.combine(first, datetime.min.time(), UTC)
    found = conn.execute(bounds, {"first": start, "born": _BORN}).one()
    young, old = _ALL if found.young is None else found.young, found.old or 0
    return lambda number, day: day < first and number < young and (day >= _BORN.date() or number <= old)


def young(conn: Connection, what: str, before: datetime) -> int:
    """The number from which on no record of that kind goes, whatever its date says."""
    table, _, column = _DATED[what].partition(" ")
    query = f"SELECT min(id) FROM {table} WHERE {column} >= :before AND {column} <= clock_timestamp()"
    found = conn.execute(text(query), {"before": before}).scalar()
    return _ALL if found is None else int(found)


def forget(conn: Connection, what: str, before: datetime, young: int = _ALL) -> int:
    """Remove a piece of what is older: ``runs``, ``metrics``, ``notices``, ``events``, ``drift`` or
    ``arrivals``, with numbers below ``young``; its size."""
    table, _, rest = _OLD[what].partition(" ")
    values: dict[str, Any] = {"before": before, "piece": PIECE, "young": young}
    if ":remembered" in rest:
        values["remembered"] = list(REMEMBERED)
    alias = "e." if rest.startswith("e ") else ""
    listed = f"SELECT {alias}id FROM {table} {rest} AND {alias}id < :young ORDER BY {alias}id LIMIT :piece"
    return conn.execute(text(f"DELETE FROM {table} WHERE id IN ({listed})"), values).rowcount


def kinds() -> Sequence[str]:
    """What :func:`forget` knows, in the order in which it is best forgotten."""
    return list(_OLD)


def now_of(conn: Connection) -> datetime:
    """The database's clock, by which all that is kept there was dated."""
    now: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)
