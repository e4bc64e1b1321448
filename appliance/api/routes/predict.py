"""Rows in, stored predictions out."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from appliance.api import respond, wire
from appliance.api.auth import Operator
from appliance.api.middleware import announced
from appliance.api.query import Moment, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.api.wire import Ask
from appliance.errors import RequestError

_SMALL = 1024 * 1024


router = APIRouter(tags=["predictions"])

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A key of your own: a request that is repeated under it is predicted and stored once.",
    ),
]
Stored = Annotated[
    bool,
    Query(
        description="`false`: only what the model says. Nothing is stored, no machine's state moves, and ids are null."
    ),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Stored predictions: as JSON, or by the header Accept as CSV or Parquet.",
        "content": {wire.CSV: {}, wire.PARQUET: {}},
        "headers": {
            "Rows-Rejected": {"schema": {"type": "integer"}, "description": "How many rows broke the contract."},
            "Idempotent-Replay": {"schema": {"const": "true"}, "description": "This answer was given before."},
        },
    }
}


@router.post("/predict", response_class=Json, responses=_ANSWERS, summary="Predict rows and store them")
async def predict(
    request: Request,
    api: State,
    who: Operator,
    profile: ProfileName = None,
    machine: Text = None,
    time: Moment = None,
    store: Stored = True,
    idempotency_key: Key = None,
) -> Response:
    """JSON: all rows are stored, or none where one breaks the contract. CSV and Parquet: the good rows are predicted and
    stored, the bad ones come back with their reasons. `machine` and `time` as parameters are for CSV and Parquet."""
    if idempotency_key is not None and not store:
        raise RequestError("What is not stored cannot be repeated.", "Leave the header Idempotency-Key out.")
    headers = request.headers
    format_, accept = wire.format_of(headers.get("content-type")), wire.accepted(headers.get("accept"))
    size = announced(request.scope)
    # Before its body is read: what waits in memory is what the limit is about.
    async with api.large if size is None or size > _SMALL else nullcontext():
        body = await request.body()
        digest = "" if idempotency_key is None else wire.digest((profile, machine, time, format_, accept), body)
        ask = Ask(profile, machine, time, format_, accept, idempotency_key, digest, store)
        return await respond.predictions(request, who, ask, body)


# By which the shortcut is counted.
ROUTE = router.routes[-1]
