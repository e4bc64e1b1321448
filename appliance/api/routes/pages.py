"""The description of the API, for programs and for people."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse

from appliance.api import docs, openapi
from appliance.api.auth import Viewer
from appliance.api.query import refuse_unknown
from appliance.api.respond import Json

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json", response_class=Json)
def description(request: Request, _: Viewer) -> Json:
    document: dict[str, Any] = request.app.openapi()
    return Json(document)


@router.get("/docs", response_class=HTMLResponse, dependencies=[Depends(refuse_unknown)])
def page(request: Request) -> HTMLResponse:
    text, policy = docs.page(openapi.general(request.app))
    return HTMLResponse(text, headers={"content-security-policy": policy})
