"""Machines and their last readings."""

from __future__ import annotations

from fastapi import APIRouter

from appliance.api import stored
from appliance.api.auth import Viewer
from appliance.api.query import ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.predict import NOBODY
from appliance.store import queries

router = APIRouter(tags=["machines"])


@router.get("/machines", response_class=Json, summary="Machines, and how they were last")
def machines(api: State, _: Viewer, profile: ProfileName = None, machine: Text = None) -> Json:
    """`verdict` is in the profile's words. `alarm` is the one that is not closed. `reason` says what is wrong and what to
    do: of the alarm's newest row, else of the last reading where it fails; null where nothing is wrong."""
    with api.transaction() as connection:
        found = [row for row in queries.machines(connection, profile, machine) if row["name"] != NOBODY]
        reasons = queries.whole(connection, [row["reason_id"] for row in found if row["reason_id"] is not None])
    return Json({"items": [stored.machine(api.models, row, reasons.get(row["reason_id"])) for row in found]})
