"""Whether Airflow, where it keeps this box's schedule, is alive: it answers, and its scheduler gives signs of life.

A scheduler may hang without ending, so that nothing starts it again; the age of its heartbeat alone tells it.
"""

from __future__ import annotations

import socket

from appliance.airflow import config, health
from appliance.checks.base import Context, Fault

# Both, for a scheduler that hangs may do so because of the other.
_RESTART = "`systemctl restart appliance-airflow-api appliance-airflow-scheduler`"
# Readiness and the kiosk wait for this answer.
_SECONDS = 2.0


def check(context: Context) -> list[Fault]:
    settings = context.settings
    if settings.schedule != "airflow" or not _may_ask():
        return []
    found = health.look(config.home_url(settings), context.now, _SECONDS)
    if found.well:
        return []
    if not found.reachable:
        way_out = f"Start it together with the scheduler: {_RESTART}."
    elif not found.database:
        way_out = "Start PostgreSQL, and check the settings dsn and airflow_dsn."
    else:
        way_out = f"It hangs, or is not there: restart both services together with {_RESTART}."
    return [Fault("scheduler", "fault", found.sentence(), way_out)]


def _may_ask() -> bool:
    """Whether this process has a network at all: a locked-in API learns of a dead schedule from services and runs."""
    try:
        socket.socket(socket.AF_INET).close()
    except OSError:
        return False
    return True
