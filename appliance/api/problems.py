"""Every error as one problem document (RFC 9457), whoever raised it: us, FastAPI or Starlette."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from appliance import trouble
from appliance.api import origin
from appliance.errors import ApplianceError, FileRefused, StoreAway, Unauthorized

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "x-request-id"

# What went wrong in general, by code; the part behind a dot ("file.empty") is the case's own.
TITLES = {
    "internal": "The appliance failed",
    "disk": "The disk is full, or fails",
    "setting": "A setting is wrong",
    "usage": "Wrong usage",
    "profile": "The profile is refused",
    "file": "The file is refused",
    "bundle": "The model is refused",
    "training": "Training failed",
    "part_failed": "The part could not be predicted",
    "request": "The request is wrong",
    "rows": "Rows are refused",
    "unauthorized": "Not signed in",
    "forbidden": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Not that method",
    "not_acceptable": "No such answer format",
    "conflict": "In conflict with the present state",
    "too_large": "Too large",
    "unsupported_media": "Not that body format",
    "idempotency_key": "The idempotency key was used before",
    "too_many_requests": "Too many requests",
    "not_ready": "Not ready",
    "store_away": "The database is away",
    "api_away": "The API is away",
    "bucket": "The bucket does not take part",
}

# Codes of errors that the framework raises by status alone.
_OF_STATUS = {
    400: ("request", "The request is wrong.", "GET /openapi.json describes what is expected."),
    404: ("not_found", "There is no such address.", "GET /openapi.json lists them all."),
    405: ("method_not_allowed", "The address does not take this method.", "The header Allow says which it takes."),
    408: ("request", "The request did not come to its end in time.", "Send it again."),
    406: ("not_acceptable", "The answer cannot be given in that format.", "Leave out the header Accept for JSON."),
    413: ("too_large", "The request is too large.", "Send fewer rows at a time, or drop the file into the raw folder."),
    415: ("unsupported_media", "The body has a format that is not taken.", "Say Content-Type: application/json."),
}

# Where a validation error lies, in words.
_PLACES = {"query": "query parameter", "path": "address", "body": "body", "header": "header"}


# However it is written: an address that is mistyped leads nowhere, and its secret may be right.
_SECRET_STEP = re.compile(r"(?i)(welcome|enter).+")


class NotAcceptable(HTTPException):
    """None of the formats that the client accepts can be given."""

    def __init__(self) -> None:
        super().__init__(status_code=406)


class BodyTooLarge(HTTPException):
    """The body is beyond its limit. An HTTPException, since FastAPI turns any other error of reading a body into a 400."""

    def __init__(self, limit: int) -> None:
        super().__init__(status_code=413, detail=_too_large(limit))


class BodyTooSlow(HTTPException):
    """The client fell silent in the middle of its body."""

    def __init__(self) -> None:
        super().__init__(status_code=408, detail="The body did not come to its end in time.")


def respond(scope: Scope, error: ApplianceError) -> Response:
    """The problem document of one of our own errors."""
    details, headers = error.details(), headers_of(error)
    return document(scope, error.status, error.code, message_of(error), error.way_out, details=details, headers=headers)


def message_of(error: ApplianceError) -> str:
    """What is said of it to whoever asks."""
    # What the driver says names hosts and users; it is for the log, not for whoever asks without a token.
    return "The database cannot be reached." if isinstance(error, StoreAway) else error.message


def note(request: Request, error: ApplianceError) -> None:
    """Count refused files by their reason; log what is no client's fault, with all that is known of it."""
    if isinstance(error, FileRefused):
        request.app.state.api.metrics.refused_file(error.reason)
    if error.status >= 500:
        log.warning("%s %s: %s", request.method, loggable(request.scope["path"]), error)


def headers_of(error: ApplianceError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="appliance"'
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return headers


def loggable(path: str) -> str:
    """A path as it may stand in a log: without control characters, and without the secret of a link that works once."""
    return _SECRET_STEP.sub(r"\1...", ascii(path)[1:-1])


def document(
    scope: Scope,
    status: int,
    code: str,
    detail: str,
    way_out: str,
    *,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    family = code.partition(".")[0]
    body = {
        "type": f"/docs#problem-{family}",
        "title": TITLES.get(family) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "way_out": way_out,
        "instance": scope.get("path", ""),
        **(details or {}),
    }
    # A message may quote what a client sent: bytes that are no text must not break the answer about them.
    content = to_json(body, inf_nan_mode="null", fallback=str)
    return Response(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def too_large(scope: Scope, limit: int) -> Response:
    """The answer to a body that announces itself as larger than ``limit`` bytes."""
    code, _, way_out = _OF_STATUS[413]
    return document(scope, 413, code, _too_large(limit), way_out)


def internal(scope: Scope, error: BaseException, request_id: str) -> Response:
    """An error that nobody foresaw: the log holds all of it, the answer the id to find it by. Where it is the disk's, that
    is said, without the paths of this box."""
    log.error("request %s failed", request_id, exc_info=error)
    if its := trouble.of_box(error):
        said = "The box could not read or write its disk." if "(" in its.message else its.message
        return document(scope, its.status, its.code, said, its.way_out, details={"id": request_id})
    return document(
        scope,
        500,
        "internal",
        "The appliance failed to answer this request.",
        f"Look for {request_id} in the API's log, and report it.",
        details={"id": request_id},
    )


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(ApplianceError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _framework)


def answer(request: Request, error: ApplianceError | HTTPException) -> Response:
    """The same where no handler of the app is asked."""
    return _ours(request, error) if isinstance(error, ApplianceError) else _framework(request, error)


def _ours(request: Request, error: Any) -> Response:
    note(request, error)
    if isinstance(error, Unauthorized) and origin.wants_page(request):
        return RedirectResponse(f"/sign-in{origin.back_here(request)}", 303)
    return respond(request.scope, error)


def _framework(request: Request, error: Any) -> Response:
    status = error.status_code
    fallback = ("internal" if status >= 500 else "request", HTTPStatus(status).phrase + ".", "")
    code, detail, way_out = _OF_STATUS.get(status, fallback)
    if isinstance(error, BodyTooLarge | BodyTooSlow):
        detail = error.detail
    return document(request.scope, status, code, detail, way_out, headers=error.headers)


def _validation(request: Request, error: Any) -> Response:
    found = list(_found(error.errors()))
    first = found[0]
    detail = f"{first['where'][:1].upper()}{first['where'][1:]}: {first['reason']}."
    way_out = "GET /openapi.json describes what is expected."
    return document(request.scope, 400, "request", detail, way_out, details={"errors": found})


def _found(errors: Sequence[Any]) -> Iterator[dict[str, str]]:
    """``{where, reason}`` of each; never the value itself, which may be a secret that went astray."""
    for error in errors:
        place, *names = (str(step) for step in error["loc"])
        where = f"{_PLACES.get(place, place)} {'.'.join(names)}".strip()
        if error["type"] == "json_invalid":
            where, reason = "body", "is no JSON"
        elif error["type"] == "missing":
            reason = "is missing"
        elif error["type"] == "extra_forbidden":
            reason = "is not known here"
        else:
            reason = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
        yield {"where": where, "reason": reason}


def _too_large(limit: int) -> str:
    return f"The body is larger than {f'{limit >> 20} MiB' if limit >= 1 << 20 else f'{limit >> 10} KiB'}."
