"""Plain requests to predict, read by hand: FastAPI takes longer to read their parameters than a model to predict a row.

Plain is what programs send all day: JSON of a known length, with a token that was right a moment ago. Whatever is not
goes by the usual way, which alone refuses, and says why.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from appliance.api import origin
from appliance.api.auth import Gate, Principal
from appliance.api.wire import JSON, Ask

MOST_BYTES = 64 * 1024

_BEARER = b"Bearer "
_JSON = JSON.encode()
_READ = frozenset((b"authorization", b"content-type", b"content-length", b"accept"))
# They change what is answered, or to whom.
_OTHERS = frozenset((b"idempotency-key", origin.PERSON_HEADER.encode(), b"transfer-encoding"))
_PARAMETER = re.compile(rb"(profile)=([A-Za-z0-9_-]{1,200})|(store)=(true|false)")


def read(request: Request, gate: Gate) -> tuple[Principal, Ask] | None:
    """Who asks what; None where the usual way has to find out."""
    headers: dict[bytes, bytes] = {}
    for name, value in request.scope["headers"]:
        if name in _OTHERS or (name in _READ and name in headers):
            return None
        headers[name] = value
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > 6 or int(length) > MOST_BYTES:
        return None
    if headers.get(b"content-type") != _JSON or headers.get(b"accept", b"*/*") not in (b"*/*", _JSON):
        return None
    parameters = _parameters(request.scope["query_string"])
    authorization = headers.get(b"authorization", b"")
    if parameters is None or not authorization.startswith(_BEARER):
        return None
    who = gate.remembered(authorization[len(_BEARER) :].decode("latin-1"))
    if who is None or not who.outranks("operator"):
        return None
    store = parameters.get("store", "true") == "true"
    return who, Ask(parameters.get("profile"), None, None, "json", "json", None, "", store)


def _parameters(query: bytes) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for item in query.split(b"&") if query else ():
        said = _PARAMETER.fullmatch(item)
        if said is None:
            return None
        name, value = (group.decode() for group in said.groups() if group is not None)
        if name in found:
            return None
        found[name] = value
    return found
