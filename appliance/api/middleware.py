"""The edge of every request: its id, its log line, its limits, its headers, and an answer even where the code failed."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.api import problems
from appliance.api.metrics import Metrics

log = logging.getLogger("appliance.access")

_SMALL_BODY = 64 * 1024  # a note, a number of minutes
_ROW_BODY = 1024 * 1024  # one row, of very many columns; many alerts at once
# A client that sends nothing for so long is gone, or means to hold a place.
_SILENCE_SECONDS = 30.0

_REQUEST_ID = problems.REQUEST_ID.encode()
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Data is never to be run; the pages that are to be seen bring their own.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Edge:
    """Outermost layer. Answers with a problem document whatever happens below, and never logs a token, a query
    or the secret of a link."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, body_limit: int) -> None:
        self._app = app
        self._metrics = metrics
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                given = {name for name, _ in headers}
                headers += [pair for pair in _HEADERS if pair[0] not in given]
                message["headers"] = [*headers, (_REQUEST_ID, request_id.encode())]
            await send(message)

        limit = _limit(scope["path"], self._body_limit)
        try:
            if (announced(scope) or 0) > limit:
                response = problems.too_large(scope, limit)
                await response(scope, receive, send_with_headers)
            else:
                await self._app(scope, _limited(receive, limit), send_with_headers)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as error:
            if status:  # half an answer is out: only cutting the connection tells the client
                status = 500
                raise
            response = problems.internal(scope, error, request_id)
            await response(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.request(scope["method"], route, status or 499, seconds)
            log.log(
                logging.DEBUG if route.startswith("/health/") else logging.INFO,
                "%s %s %s %d %.1f ms %s",
                request_id,
                scope["method"],
                problems.loggable(scope["path"]),
                status or 499,
                seconds * 1000,
                scope["state"].get("who", "-"),
            )


def _limit(path: str, most: int) -> int:
    """Bytes of body that an address takes, where files may be as large as ``most``."""
    if path in ("/predict", "/file-checks") or path.endswith("/corrections"):
        return most
    return min(_ROW_BODY, most) if path in ("/explain", "/alerts") else _SMALL_BODY


def announced(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _limited(receive: Receive, limit: int) -> Receive:
    """The same messages, up to ``limit`` bytes of body and with no long silence between them."""
    seen, complete = 0, False

    async def limited() -> Message:
        nonlocal seen, complete
        if complete:  # what comes now is the end of the connection, for which one may wait
            return await receive()
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                message = await receive()
        except TimeoutError:
            raise problems.BodyTooSlow from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > limit:
                raise problems.BodyTooLarge(limit)
        return message

    return limited
