"""The plant at a glance: the age of its data, and its day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query

from appliance.api import query
from appliance.api.auth import Viewer
from appliance.api.query import Moment, ProfileName
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import RequestError
from appliance.store import day as store

router = APIRouter(tags=["plant"])


@router.get("/ages", response_class=Json, summary="How old the plant's data is")
def ages(api: State, _: Viewer) -> Json:
    """The newest reading, file and prediction of machines, beside `now` by the same clock; null before the first."""
    with api.transaction() as connection:
        return Json(store.ages(connection))


@router.get("/day", response_class=Json, summary="What came, and what became of it")
def day(
    api: State,
    _: Viewer,
    profile: ProfileName = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
) -> Json:
    """Counts over files that arrived in the time, their rows, and alarms that opened. Without `from` since midnight in
    plant time, without `to` until now."""
    zone = api.settings.timezone
    now = datetime.now(UTC)
    since = query.moment("from", from_, zone) or _midnight(now, zone)
    until = query.moment("to", to, zone) or now + timedelta(minutes=5)
    if since >= until:
        raise RequestError("No time lies between from and to.", "Put the earlier one into from.")
    with api.transaction() as connection:
        return Json({"from": since, "to": min(until, now), **store.day(connection, since, until, profile)})


def _midnight(now: datetime, zone: str) -> datetime:
    local = now.astimezone(ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
