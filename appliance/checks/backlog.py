"""Good rows that wait too long for their prediction."""

from __future__ import annotations

from datetime import timedelta

from appliance.checks.base import Context, Fault, long
from appliance.store import queries

# Parts are predicted every two minutes; this is several turns missed.
_LONG = timedelta(minutes=15)


def check(context: Context) -> list[Fault]:
    with context.transaction() as connection:
        waiting = queries.backlog(connection)
    oldest = timedelta(seconds=waiting.get("oldest_waiting_seconds", 0))
    if oldest < _LONG:
        return []
    parts, rows = int(waiting["parts_waiting"]), int(waiting["rows_waiting"])
    said = f"{rows:,} rows in {parts} parts wait for their prediction, the oldest for {long(oldest)}."
    return [Fault("backlog", "warning", said, "Is the schedule running? `appliance predict` does it by hand.")]
