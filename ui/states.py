"""How a machine stands: one state out of its alarm, its last reading and the age of it; and machines by risk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from ui import words

State = Literal["open", "acknowledged", "snoozed", "failing", "stale", "passing", "silent"]

# The most pressing first. What sends nothing any more comes before what is well: nobody knows how it is.
_RANK: Mapping[str, int] = {
    name: rank for rank, name in enumerate(("open", "acknowledged", "snoozed", "failing", "stale", "passing", "silent"))
}
# What was well an hour ago is not known to be well.
STALE_SECONDS = 3600


def of(machine: Mapping[str, Any], now: datetime) -> State:
    """An alarm stays one when its machine falls silent; a machine that was well and is silent is not well."""
    if machine["alarm"] is not None:
        state: State = machine["alarm"]["state"]
        return state
    if machine["last_read_at"] is None:
        return "silent"
    if is_stale(machine, now):
        return "stale"
    return "failing" if machine["last_failing"] else "passing"


def is_stale(machine: Mapping[str, Any], now: datetime) -> bool:
    read_at = words.moment(machine["last_read_at"])
    return read_at is not None and (now - read_at).total_seconds() >= STALE_SECONDS


def by_risk(machines: Iterable[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Open alarms first, and what is most likely to fail first among its like."""
    return sorted(machines, key=lambda m: (_RANK[of(m, now)], -(m["last_probability"] or 0.0), m["profile"], m["name"]))


def needs_somebody(machine: Mapping[str, Any], now: datetime) -> bool:
    return of(machine, now) in ("open", "acknowledged", "snoozed", "failing")
