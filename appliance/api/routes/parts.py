"""Parts of files: what the schedule has predicted."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from appliance.api.auth import Needs, Operator, Principal
from appliance.api.query import Id, Limit
from appliance.api.respond import Json
from appliance.api.state import Api, State
from appliance.errors import Conflict, Forbidden, NotReady, RequestError, StoreAway
from appliance.predict import predict_part
from appliance.store import parts as store

log = logging.getLogger(__name__)
router = APIRouter(tags=["parts"])

# Nothing about the part itself: trying again later is all there is to it, and no try is counted.
_NOT_ITS_FAULT = (StoreAway, NotReady, RequestError)


class PartFailed(RequestError):
    """Scoring failed for the part's own reason; the try is counted."""

    status = 422
    code = "part_failed"


async def _scheduler(who: Annotated[Principal, Depends(Needs("operator"))]) -> Principal:
    """Files are predicted by the schedule: what others ask for counts as another source."""
    if who.source != "scheduled" and not who.outranks("admin"):
        raise Forbidden(
            "Parts are predicted by the schedule.", "Use a token with the source scheduled, or the role admin."
        )
    return who


@router.get("/parts", response_class=Json, summary="Parts of files, by state")
def parts(
    api: State, _: Operator, state: Annotated[Literal["waiting", "failed"], Query()] = "waiting", limit: Limit = 100
) -> Json:
    """Waiting ones whose turn has come, or those that were given up; the oldest first."""
    with api.transaction() as connection:
        found = store.waiting_parts(connection, limit) if state == "waiting" else store.failed_parts(connection, limit)
    return Json({"items": [asdict(part) for part in found]})


@router.post("/parts/{part_id}/predict", response_class=Json, summary="Predict a waiting part")
def predict(api: State, part_id: Id, who: Annotated[Principal, Depends(_scheduler)]) -> Json:
    """Predicts every row of the part once, and marks it, in one transaction. Asking again is fine."""
    try:
        with api.transaction() as connection:
            profile = store.lock_part(connection, part_id).profile
            done = predict_part(connection, api.models, part_id, api.settings, api.ahead)
    except _NOT_ITS_FAULT:
        raise
    except Exception as error:
        raise _failed(api, part_id, error) from error
    if not done.already:
        api.metrics.predicted(profile, "scheduled", done.rows, done.failing)
        log.info("part %d: %d rows predicted, %d failing", part_id, done.rows, done.failing)
    return Json(asdict(done))


def _failed(api: Api, part_id: int, error: Exception) -> PartFailed:
    """Count the failed try in a transaction of its own: that of the prediction was rolled back."""
    log.warning("part %d failed", part_id, exc_info=error)
    reason = str(error).splitlines()[0][:500] if str(error) else type(error).__name__
    state = "waiting"
    try:
        with api.transaction() as connection:
            state = store.part_failed(connection, part_id, reason, api.settings.part_tries)
    except Conflict:
        log.info("part %d was settled by another in the meantime", part_id)
    way_out = "It is given up; `appliance doctor` says more." if state == "failed" else "It is tried again later."
    return PartFailed(f"Part {part_id} could not be predicted: {reason.rstrip('.')}.", way_out)
