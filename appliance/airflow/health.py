"""How this box's Airflow is, as its api-server tells it: whether it answers, and when its scheduler last did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.airflow.calls import Away, call

# A scheduler says every five seconds that it lives; a small box that is busy may be late with it.
STALE_SECONDS = 60
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Health:
    """``heartbeat_seconds`` is the age of the scheduler's last sign of life; None where there never was one."""

    url: str
    reachable: bool
    database: bool = False
    scheduler: bool = False
    heartbeat_seconds: float | None = None

    @property
    def well(self) -> bool:
        return self.database and self.scheduler

    def sentence(self) -> str:
        if not self.reachable:
            return f"Airflow's api-server does not answer at {self.url}."
        if not self.database:
            return "Airflow cannot reach its database."
        if self.heartbeat_seconds is None:
            return "Airflow's scheduler has never run."
        age = f"{self.heartbeat_seconds:.0f} s"
        if not self.scheduler:
            return f"Airflow's scheduler gave its last sign of life {age} ago; no pass is started."
        return f"Airflow is well; its scheduler gave a sign of life {age} ago."

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "well": self.well}


def look(url: str, now: datetime | None = None, seconds: float = _SECONDS) -> Health:
    """Ask the api-server at ``url`` (no slash at its end). Raises nothing."""
    try:
        status, told = call(f"{url}/api/v2/monitor/health", seconds)
        if status != 200:
            return Health(url, reachable=False)
        database = told["metadatabase"]["status"] == "healthy"
        beat = told["scheduler"]["latest_scheduler_heartbeat"]
        running = told["scheduler"]["status"] == "healthy"
        last = datetime.fromisoformat(beat) if beat else None
    except (Away, ValueError, KeyError, TypeError):
        return Health(url, reachable=False)
    if last is None:
        return Health(url, True, database)
    age = max(0.0, ((now or datetime.now(UTC)) - last).total_seconds())
    return Health(url, True, database, running and age <= STALE_SECONDS, round(age, 1))


def watch(url: str, service: str) -> Callable[[], str | None]:
    """A look at one service for the one who watches it: what is wrong with it, or None."""
    seen = False

    def api_server() -> str | None:
        found = look(url)
        return None if found.reachable else found.sentence()

    def scheduler() -> str | None:
        nonlocal seen
        found = look(url)
        seen = seen or found.well
        # While the api-server is away nothing can be said of the scheduler, once it was seen at work.
        return None if found.well or (seen and not found.reachable) else found.sentence()

    return scheduler if service == "scheduler" else api_server
