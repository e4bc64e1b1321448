"""A disk that is full within a week, at the pace of the last one."""

from __future__ import annotations

from appliance.checks.base import Context, Fault
from appliance.room import lasting
from appliance.store import retention

_SOON_DAYS = 7


def check(context: Context) -> list[Fault]:
    with context.transaction() as connection:
        days = retention.days_left(connection)
    if days is None or days >= _SOON_DAYS:
        return []
    said = f"At the pace of the last week the disk is full in {lasting(days)}."
    return [
        Fault("lasts", "warning", said, "Shorten archive_days or prediction_days, or move data_dir to a larger disk.")
    ]
