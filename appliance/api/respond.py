"""JSON answers."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from appliance.api import wire


class Json(Response):
    """A JSON answer straight from plain values: what is no number is null, and nothing is validated a second time."""

    media_type = wire.JSON

    def render(self, content: Any) -> bytes:
        return wire.to_bytes(content)
