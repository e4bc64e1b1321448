"""Machines in alarm, and what people say to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from appliance.api import query
from appliance.api.auth import Operator, Viewer
from appliance.api.query import Cursor, Id, Limit, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import NotFound
from appliance.store import alarms as store
from appliance.store import queries
from appliance.store.engine import Connection

router = APIRouter(tags=["alarms"])

_LONGEST_SNOOZE = 7 * 24 * 60


class Note(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    note: Annotated[str, Field(max_length=500, description="What was found, or is being done.")] = ""


class Pause(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    minutes: Annotated[int, Field(ge=1, le=_LONGEST_SNOOZE, description="How long nobody is to be told again.")]


@router.get("/alarms", response_class=Json, summary="Alarms, the newest first")
def alarms(
    api: State,
    _: Viewer,
    state: Annotated[Literal["open", "acknowledged", "snoozed", "current", "closed", "all"], Query()] = "open",
    profile: ProfileName = None,
    machine: Text = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Json:
    """`open`: nobody looks after it yet. A snoozed one is open or acknowledged again once its pause is over. `current`: all
    that are not closed. `outcome` is what was told of it last."""
    wanted = None if state == "all" or state == "current" else state
    closed = False if state == "current" else None
    after = query.after(cursor)
    with api.transaction() as connection:
        found = queries.alarms(
            connection, state=wanted, closed=closed, profile=profile, machine=machine, limit=limit + 1, after_id=after
        )
    return Json(query.page(found, limit))


@router.get("/alarms/{alarm_id}", response_class=Json, summary="An alarm")
def alarm(api: State, alarm_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        return Json(_alarm(connection, alarm_id))


@router.post("/alarms/{alarm_id}/ack", response_class=Json, summary="Say that somebody looks after it")
def acknowledge(api: State, alarm_id: Id, who: Operator, note: Note | None = None) -> Json:
    """The name of the token or user is noted; a station adds who stands before it: `X-Appliance-Person: Anna`."""
    with api.transaction() as connection:
        store.acknowledge(connection, alarm_id, who.noted, note.note if note else "")
        return Json(_alarm(connection, alarm_id))


@router.post("/alarms/{alarm_id}/snooze", response_class=Json, summary="Be quiet about it for a while")
def snooze(api: State, alarm_id: Id, _: Operator, pause: Pause) -> Json:
    until = datetime.now(UTC) + timedelta(minutes=pause.minutes)
    with api.transaction() as connection:
        store.snooze(connection, alarm_id, until)
        return Json(_alarm(connection, alarm_id))


def _alarm(connection: Connection, alarm_id: int) -> dict[str, Any]:
    found = queries.alarms(connection, limit=1, after_id=alarm_id + 1)
    if not found or found[0]["id"] != alarm_id:
        raise NotFound(f"There is no alarm {alarm_id}.")
    return found[0]
