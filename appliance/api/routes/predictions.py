"""Stored predictions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from appliance.api import query, stored
from appliance.api.auth import Viewer
from appliance.api.query import Cursor, Id, Limit, Moment, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import RequestError
from appliance.store import queries
from appliance.store.queries import PredictionFilter

router = APIRouter(tags=["predictions"])


@router.get("/predictions", response_class=Json, summary="Stored predictions, the newest first")
def predictions(
    api: State,
    _: Viewer,
    profile: ProfileName = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
    source: Annotated[Literal["webapp", "scheduled", "api"] | None, Query()] = None,
    machine: Text = None,
    verdict: Annotated[Literal["failing", "passing"] | None, Query()] = None,
    min_probability: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    file: Annotated[int | None, Query(ge=1, le=query.BIGINT, description="The id of a file.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Json:
    """`from` and `to` are about when a row was predicted; `to` itself is left out."""
    zone = api.settings.timezone
    wanted = PredictionFilter(
        profile=profile,
        from_=query.moment("from", from_, zone),
        to=query.moment("to", to, zone),
        source=source,
        machine=machine,
        failing=None if verdict is None else verdict == "failing",
        min_probability=min_probability,
        file_id=file,
    )
    if wanted.from_ and wanted.to and wanted.from_ >= wanted.to:
        raise RequestError("No time lies between from and to.", "Put the earlier one into from.")
    after = query.after(cursor)
    with api.transaction() as connection:
        found = queries.predictions(connection, wanted, limit + 1, after_id=after)
    return Json(query.page([stored.short(api.models, row) for row in found], limit))


@router.get("/predictions/{prediction_id}", response_class=Json, summary="A prediction, with features and reason")
def prediction(api: State, prediction_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        found = queries.prediction(connection, prediction_id)
    return Json(stored.whole(api.models, found))
