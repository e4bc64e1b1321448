"""Who works here: names that a station offers for a tap."""

from __future__ import annotations

from fastapi import APIRouter

from appliance.api.auth import Operator
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.store import users

router = APIRouter(tags=["people"])


@router.get("/people", response_class=Json, summary="Names of people who may sign in")
def people(api: State, _: Operator) -> Json:
    """For a station that asks who stands before it. It may name others too."""
    with api.transaction() as connection:
        names = users.people(connection)
    return Json({"items": [{"name": name} for name in names]})
