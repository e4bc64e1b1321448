"""Whether the schedule of this box keeps its promise: passes begin when they should, and come to something."""

from __future__ import annotations

from datetime import datetime, timedelta

from appliance import cron
from appliance.checks.base import Context, Fault, long
from appliance.store import queries, runs
from appliance.store.rows import RunKind
from appliance.store.runs import Standing

_TITLES: dict[RunKind, str] = {
    "ingest": "Taking files in",
    "predict": "Predicting",
    "maintain": "Maintenance",
}
# So many in a row are no moment's trouble.
_FAILURES = 3
# What is older than this, and older than two turns, says nothing about now.
_RECENT = timedelta(hours=1)
_SOON = timedelta(hours=6)
# Longer than the schedule lets any run be.
_ENDLESS = timedelta(hours=3)
_BY_HAND: dict[RunKind, str] = {kind: f"`appliance {kind}` does it by hand." for kind in _TITLES}


def check(context: Context) -> list[Fault]:
    settings = context.settings
    if settings.schedule != "airflow":
        return []
    crons: dict[RunKind, str] = {
        "ingest": settings.ingest_cron,
        "predict": settings.predict_cron,
        "maintain": settings.maintain_cron,
    }
    found = []
    for kind, expression in crons.items():
        turn = cron.longest_gap(expression)
        if turn is None:
            said = f"The setting {kind}_cron ({expression}) is no time that cron knows."
            found.append(Fault("runs", "fault", said, "Mend it; `*/5 * * * *` is every five minutes."))
            continue
        with context.transaction() as connection:
            now = queries.clock(connection)
            standing = runs.standing(connection, kind, _FAILURES)
            first = runs.first(connection)
            steps = runs.failed_steps(connection, kind, now - 2 * turn) if kind == "maintain" else []
        found += late(kind, turn, standing, now, first)
        found += [] if standing is None or kind == "maintain" else failing(kind, turn, standing, now)
        for step, why in steps:
            found.append(Fault("runs", "warning", f"Maintenance failed at {step}.", f"{why} {_BY_HAND[kind]}"))
    return found


def late(
    kind: RunKind, turn: timedelta, standing: Standing | None, now: datetime, first: datetime | None
) -> list[Fault]:
    """What is wrong with when runs of a kind begin, one at least every ``turn``; ``first``: since when any do."""
    way_out = f"Is Airflow running? `appliance airflow health` tells; {_BY_HAND[kind]}"
    if standing is None and first is None:
        # What has its turn at night is not late on the first day.
        said = f"{_TITLES[kind]}: the schedule never ran."
        return [Fault("runs", "warning", said, way_out)] if turn < _SOON else []
    if standing is not None and standing.finished_at is None:
        if (idle := now - standing.started_at) < max(_ENDLESS, 2 * turn):
            return []
        said = f"{_TITLES[kind]}: a run has been under way for {long(idle)}."
        return [Fault("runs", "warning", said, "See its log in Airflow; the next run closes it if it is dead.")]
    idle = now - (standing.started_at if standing is not None else first or now)
    last = "the last run was" if standing is not None else "no run since the schedule began"
    said = f"{_TITLES[kind]}: {last} {long(idle)} ago, and one is due every {long(turn)}."
    if idle > 10 * turn + timedelta(minutes=30):
        return [Fault("runs", "fault", said, way_out)]
    if idle > 3 * turn + timedelta(minutes=5):
        return [Fault("runs", "warning", said, way_out)]
    return []


def failing(kind: RunKind, turn: timedelta, standing: Standing, now: datetime) -> list[Fault]:
    """What is wrong with how runs of a kind end."""
    if standing.failures < _FAILURES or standing.failed_at is None:
        return []
    if now - standing.failed_at > max(_RECENT, 2 * turn):
        return []
    said = f"{_TITLES[kind]}: the last {standing.failures} runs failed."
    # The sentence is shown to everybody; the reason may name files and addresses.
    return [Fault("runs", "fault", said, f"{standing.why} Airflow's log of the run says more.".strip())]
