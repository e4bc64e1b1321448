"""Is it alive, is it ready, how much does it do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from appliance import status
from appliance.api import metrics
from appliance.api.auth import Viewer
from appliance.api.query import refuse_unknown
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import StoreAway
from appliance.store import queries

router = APIRouter(tags=["health"])
_open = [Depends(refuse_unknown)]


@router.get("/health/live", response_class=Json, dependencies=_open, summary="The process answers")
async def live() -> Json:
    return Json({"live": True})


@router.get(
    "/health/ready",
    response_class=Json,
    dependencies=_open,
    summary="Rows can be predicted and stored",
    responses={503: {"description": "Not ready: the faults in short.", "content": {"application/json": {}}}},
)
def ready(api: State) -> Response:
    """In short, since nobody has to show a token: `appliance doctor` says what to do."""
    faults = api.faults()
    is_ready = not any(fault.severity == "fault" for fault in faults)
    short: list[dict[str, Any]] = [
        {"name": fault.name, "severity": fault.severity, "sentence": fault.sentence} for fault in faults
    ]
    headers = {} if is_ready else {"retry-after": "5"}
    return Json({"ready": is_ready, "faults": short}, status_code=200 if is_ready else 503, headers=headers)


@router.get("/health/faults", response_class=Json, summary="What is wrong, and what to do about it")
def faults(api: State, _: Viewer) -> Json:
    found = api.faults()
    return Json({"items": [fault.as_json() for fault in found]})


@router.get("/health/status", response_class=Json, summary="The box at a glance")
def at_a_glance(api: State, _: Viewer) -> Json:
    """Services, the schedule's last passes, ages in seconds, what waits, disk. With the database away the rest is told,
    and `database` says why."""
    return Json(status.look(api.settings, api.engine).as_dict())


@router.get("/whoami", response_class=Json, summary="Who is asking")
def whoami(who: Viewer) -> Json:
    """`kind` is `token` or `user`; a `station` is a user that several people share, and `person` who stands before it."""
    names = ("name", "role", "source", "expires_at", "kind", "station")
    return Json({**{name: getattr(who, name) for name in names}, "person": who.person or None})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def figures(request: Request, api: State, _: Viewer) -> Response:
    try:
        with api.transaction() as connection:
            waiting = queries.backlog(connection)
    except StoreAway:
        api.metrics.backlog(None)
    else:
        api.metrics.backlog(waiting)
    return Response(api.metrics.text(), media_type=metrics.MEDIA_TYPE)
