"""Machines and their last readings."""

from __future__ import annotations

from fastapi import APIRouter

from appliance.api.auth import Viewer
from appliance.api.query import ProfileName
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.predict import NOBODY
from appliance.store import queries

router = APIRouter(tags=["machines"])


@router.get("/machines", response_class=Json, summary="Machines, and how they were last")
def machines(api: State, _: Viewer, profile: ProfileName = None) -> Json:
    with api.transaction() as connection:
        found = queries.machines(connection, profile)
    return Json({"items": [machine for machine in found if machine["name"] != NOBODY]})
