"""Why: one stored prediction, or one row that is tried out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from appliance.api import explaining, wire
from appliance.api.auth import Viewer
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import UnsupportedMedia

router = APIRouter(tags=["predictions"])


@router.post("/explain", response_class=Json, summary="Say why, what would make it safe, and whether its like was seen")
async def explain(request: Request, api: State, _: Viewer) -> Json:
    """A stored prediction by its id, out of its stored features and the model that made it; or a row of your own, which
    is stored nowhere. The contributions and `base` add up to the probability. `smallest` is the smallest change of one
    reading that a person can set and that makes the row safe; `changes` holds one for each reading that could.
    `curve` names a reading and adds what becomes of the row over its range."""
    if wire.format_of(request.headers.get("content-type")) != "json":
        raise UnsupportedMedia("A question is JSON.", f"Say Content-Type: {wire.JSON}.")
    question = explaining.read(await request.body())
    async with api.explaining:
        return Json(await run_in_threadpool(explaining.answer, api, question))
