"""Whether the box's clock can be believed: predictions carry its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.checks.base import Context, Fault, long
from appliance.store import queries
from appliance.store.queries import PredictionFilter

# A box whose battery is empty wakes up in 1970 or at its firmware's date; this program did not exist then.
_BORN = datetime(2026, 1, 1, tzinfo=UTC)
_APART = timedelta(seconds=30)
_WAY_OUT = "Check the time service (`timedatectl`) and the clock's battery."


def check(context: Context) -> list[Fault]:
    if context.now < _BORN:
        return [Fault("clock", "fault", f"The clock says {context.now:%Y-%m-%d}: it was never set.", _WAY_OUT)]
    with context.transaction() as connection:
        theirs = queries.clock(connection)
        newest = queries.predictions(connection, PredictionFilter(), limit=1)
    apart = abs(theirs - context.now)
    if apart > _APART:
        return [Fault("clock", "warning", f"This box's clock and the database's are {long(apart)} apart.", _WAY_OUT)]
    if newest and newest[0]["predicted_at"] - context.now > _APART:
        ahead = long(newest[0]["predicted_at"] - context.now)
        return [Fault("clock", "warning", f"The clock was set back: the newest prediction is {ahead} ahead.", _WAY_OUT)]
    return []
