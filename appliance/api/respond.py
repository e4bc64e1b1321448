"""Responses: JSON, and what became of a request to predict, whichever way it came."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from appliance.api import wire
from appliance.api.auth import Principal
from appliance.api.wire import Ask


class Json(Response):
    """A JSON answer straight from plain values: what is no number is null, and nothing is validated a second time."""

    media_type = wire.JSON

    def render(self, content: Any) -> bytes:
        return wire.to_bytes(content)


async def predictions(request: Request, who: Principal, ask: Ask, body: bytes) -> Response:
    """The response to a request to predict that was read."""
    made = await request.app.state.together.submit(who, ask, body)
    response = Response(made.content, media_type=wire.media_type(made.format))
    response.headers["rows-rejected"] = str(made.rejected)
    if made.replayed:
        response.headers["idempotent-replay"] = "true"
    return response
