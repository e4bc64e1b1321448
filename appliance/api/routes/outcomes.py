"""What really happened, and how good the warnings were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from appliance import outcomes
from appliance.alarms import Rule
from appliance.api import once, query, wire
from appliance.api.auth import Operator, Viewer
from appliance.api.query import BIGINT, Cursor, Limit, Moment, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import Api, State
from appliance.errors import ApplianceError, RequestError
from appliance.predict import alarm_rule
from appliance.profile import Profile
from appliance.store import outcomes as store
from appliance.store import queries
from appliance.store.engine import Connection
from appliance.store.rows import OutcomeKind

router = APIRouter(tags=["outcomes"])

# Clocks of people and of the box.
_TOLERANCE = timedelta(minutes=5)

_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_Number = Annotated[int, Field(ge=1, le=BIGINT)]


class Outcome(BaseModel):
    """About an alarm, a prediction, or a machine: one of `alarm_id`, `prediction_id` and `machine`."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"kind": "failure", "machine": "mill-1", "profile": "milling", "note": "Insert broken, spindle fine."},
                {"kind": "false_alarm", "alarm_id": 1},
            ]
        },
    )

    kind: Annotated[
        OutcomeKind,
        Field(
            description="`failure`: it failed. `false_alarm`: there was nothing. `missed_failure`: it failed, and nobody"
            " was warned. `planned_work`: it was taken out of service on purpose."
        ),
    ]
    alarm_id: _Number | None = None
    prediction_id: _Number | None = None
    machine: _Name | None = None
    profile: Annotated[_Name | None, Field(description="Of the machine; needed where several are served.")] = None
    happened_at: Annotated[
        str | None,
        Field(max_length=40, description="ISO 8601; without a zone it is plant time. Without it: now."),
    ] = None
    note: Annotated[str, Field(max_length=2000, description="What was found, and what was done.")] = ""


@router.post("/outcomes", response_class=Json, summary="Say what really happened")
def tell(api: State, who: Operator, outcome: Outcome, idempotency_key: once.Key = None) -> Json:
    """It is kept with a copy of what was predicted. The alarm that it answers is closed: the one that is named, else the
    open one of the machine that began before it."""
    digest = wire.digest(["outcome"], outcome.model_dump_json().encode())

    def make(connection: Connection) -> dict[str, Any]:
        return _tell(api, connection, outcome, who.noted)

    return once.once(api, who, idempotency_key, digest, make)


@router.get("/outcomes", response_class=Json, summary="What people told, the newest first")
def listed(
    api: State, _: Viewer, profile: ProfileName = None, machine: Text = None, limit: Limit = 100, cursor: Cursor = None
) -> Json:
    after = query.after(cursor)
    with api.transaction() as connection:
        found = queries.outcomes(connection, profile=profile, machine=machine, limit=limit + 1, after_id=after)
    return Json(query.page(found, limit))


@router.get("/outcomes/record", response_class=Json, summary="How good the warnings were")
def record(
    api: State,
    _: Viewer,
    profile: ProfileName = None,
    machine: Text = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
) -> Json:
    """Alarms by what became of them, and failures of which nobody was warned; in all, and by machine. Of several outcomes
    of an alarm the last one counts. Simulated machines are left out unless one is named. `from` and `to` are about when
    an alarm opened, or a missed failure happened; `to` itself is left out."""
    zone = api.settings.timezone
    since, until = query.moment("from", from_, zone), query.moment("to", to, zone)
    with api.transaction() as connection:
        rows = store.record(connection, profile=profile, machine=machine, from_=since, to=until)
    return Json({"from": since, "to": until, **outcomes.record(rows), "machines": rows})


def _tell(api: Api, connection: Connection, outcome: Outcome, who: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    happened_at = query.moment("happened_at", outcome.happened_at, api.settings.timezone) or now
    if happened_at > now + _TOLERANCE:
        raise RequestError(
            "The time lies in the future.",
            f"By the clock of this box it is {now.isoformat(timespec='seconds')}.",
        )
    profile_name = outcome.profile
    if outcome.machine is not None and profile_name is None:
        profile_name = api.models.get().profile.name
    told = outcomes.Told(
        outcome.kind, happened_at, who, outcome.note, outcome.alarm_id, outcome.prediction_id, outcome.machine, profile_name
    )  # fmt: skip
    outcome_id = outcomes.tell(connection, told, lambda name: _rules(api, name))
    return queries.outcomes(connection, limit=1, after_id=outcome_id + 1)[0]


def _rules(api: Api, name: str) -> tuple[Profile, Rule] | None:
    try:
        profile = api.models.get(name).profile
    except ApplianceError:
        return None  # what became of its machines is worth knowing all the same
    return profile, alarm_rule(profile, api.settings)
