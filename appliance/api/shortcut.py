"""Plain requests to predict are answered before FastAPI sees them: its way to a handler takes longer than the handler."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.api import plain, problems, respond
from appliance.api.auth import Principal
from appliance.api.wire import Ask
from appliance.errors import ApplianceError


class Shortcut:
    """Just inside of the edge. What :mod:`appliance.api.plain` does not take goes on to ``app``; ``route`` is the one that
    would have been found there."""

    def __init__(self, app: ASGIApp, *, route: BaseRoute) -> None:
        self._app = app
        self._route = route
        self._path = getattr(route, "path", "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path and scope["method"] == "POST":
            request = Request(scope, receive, send)
            found = plain.read(request, request.app.state.api.gate)
            if found is not None:
                scope["route"] = self._route
                await (await _respond(request, *found))(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _respond(request: Request, who: Principal, ask: Ask) -> Response:
    request.state.who = who.name
    try:
        return await respond.predictions(request, who, ask, await request.body())
    except (ApplianceError, HTTPException) as error:
        return problems.answer(request, error)
