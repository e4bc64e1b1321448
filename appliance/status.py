"""The box at a glance: what runs, what waits, how old the data is. Faults and their ways out are `appliance doctor`'s."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from appliance import __version__, bundle, units
from appliance.checks.base import long
from appliance.errors import StoreAway
from appliance.room import lasting
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import outbox, queries, retention, standing
from appliance.store.engine import Engine

_GIB = 1 << 30


@dataclass(slots=True)
class Status:
    """``database`` is a sentence where it cannot be asked; what comes from it is empty then."""

    version: str
    site: str
    services: list[dict[str, Any]]
    models: dict[str, str | None]
    disk_free_bytes: int
    disk_bytes: int
    disk_days_left: float | None = None
    database: str = ""
    database_bytes: int = 0
    schedule: list[dict[str, Any]] = field(default_factory=list)
    ages: dict[str, float | None] = field(default_factory=dict)
    backlog: dict[str, float] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    bucket: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def look(settings: Settings, engine: Engine) -> Status:
    """Everything that can be found out now; what is away is said, not raised."""
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    seen = Status(
        version=__version__,
        site=settings.site,
        services=[asdict(unit) for unit in units.units()],
        models={name: bundle.active_version(settings.models, name) for name in bundle.profiles(settings.models)},
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        disk_bytes=disk.f_blocks * disk.f_frsize,
    )
    try:
        with engines.transaction(engine) as connection:
            seen.database_bytes = standing.database_bytes(connection)
            seen.disk_days_left = retention.days_left(connection)
            seen.schedule = standing.passes(connection)
            seen.ages = standing.ages(connection)
            seen.backlog = queries.backlog(connection)
            seen.alarms = standing.open_alarms(connection)
            if settings.s3_bucket is not None:
                seen.bucket = asdict(outbox.standing(connection)) | {"name": settings.s3_bucket}
    except StoreAway as error:
        seen.database = str(error)
    return seen


def lines(seen: Status) -> Iterator[tuple[str, str]]:
    """(what, how it is) for a person."""
    yield "Appliance", f"version {seen.version}, site {seen.site}"
    for service in seen.services:
        again = f", started again {service['restarts']} times" if service["restarts"] else ""
        yield service["name"], f"{service['active']} ({service['sub']}){again}"
    yield "Database", seen.database or f"answers, {_size(seen.database_bytes)}"
    for run in seen.schedule:
        outcome = run["outcome"] or "under way"
        why = f" ({run['why']})" if run["why"] else ""
        yield f"Last {run['kind']}", f"{outcome}{why}, {_ago(run['age'])}"
    if not seen.database:
        yield "Newest file", _ago(seen.ages.get("file"))
        yield "Newest prediction", _ago(seen.ages.get("prediction"))
        waiting = f"{int(seen.backlog['parts_waiting'])} parts, {int(seen.backlog['rows_waiting']):,} rows wait"
        yield "Backlog", f"{waiting}; {int(seen.backlog['parts_failed'])} parts given up"
    if (bucket := seen.bucket) is not None:
        said = f"{bucket['objects']:,} objects, {_size(bucket['bytes'])}; {bucket['waiting']:,} wait"
        said += f" with {_size(bucket['waiting_bytes'])}" if bucket["waiting"] else ""
        yield f"Bucket {bucket['name']}", f"{said} ({bucket['error']})" if bucket["error"] else said
    for name, version in seen.models.items():
        yield f"Model {name}", version or "none is active"
    if not seen.models:
        yield "Model", "none is installed"
    lasts = "" if seen.disk_days_left is None else f", full in {lasting(seen.disk_days_left)} at the last week's pace"
    yield "Disk", f"{_size(seen.disk_free_bytes)} free of {_size(seen.disk_bytes)}{lasts}"
    for alarm in seen.alarms:
        by = f", acknowledged by {alarm['acknowledged_by']}" if alarm["acknowledged_by"] else ""
        yield f"Alarm {alarm['machine']}", f"{alarm['details'].get('text', '')}{by}"


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{long(timedelta(seconds=max(0.0, seconds)))} ago"


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / (1 << 20):.0f} MiB"
