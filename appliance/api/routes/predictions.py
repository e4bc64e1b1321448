"""Stored predictions."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from appliance.api import exporting, query, stored, wire
from appliance.api.auth import Viewer
from appliance.api.query import Cursor, Id, Limit, Moment, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.errors import RequestError
from appliance.store import queries
from appliance.store.queries import PredictionFilter
from appliance.store.search import Bin

router = APIRouter(tags=["predictions"])

# A day has 24 bars, a quarter of a year some 90.
_BY_HOUR = timedelta(days=3)


async def _wanted(
    api: State,
    profile: ProfileName = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
    source: Annotated[Literal["webapp", "scheduled", "api"] | None, Query()] = None,
    machine: Text = None,
    verdict: Annotated[Literal["failing", "passing"] | None, Query()] = None,
    min_probability: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    file: Annotated[int | None, Query(ge=1, le=query.BIGINT, description="The id of a file.")] = None,
) -> PredictionFilter:
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
    return wanted


Wanted = Annotated[PredictionFilter, Depends(_wanted)]


@router.get("/predictions", response_class=Json, summary="Stored predictions, the newest first")
def predictions(_: Viewer, api: State, wanted: Wanted, limit: Limit = 100, cursor: Cursor = None) -> Json:
    """`from` and `to` are about when a row was predicted; `to` itself is left out."""
    after = query.after(cursor)
    with api.transaction() as connection:
        found = queries.predictions(connection, wanted, limit + 1, after_id=after)
    return Json(query.page([stored.short(api.models, row) for row in found], limit))


@router.get("/predictions/counts", response_class=Json, summary="How many predictions, hour by hour or day by day")
def counts(
    _: Viewer, api: State, wanted: Wanted, by: Annotated[Literal["hour", "day", "auto"], Query()] = "auto"
) -> Json:
    """Of the same filter: rows that pass and that fail, by the hour or day of plant time in which they were predicted; by
    the hour for up to three days where nothing else is said. Hours and days without rows are left out."""
    chosen: Bin = by if by != "auto" else _bin(wanted)
    with api.transaction() as connection:
        found = queries.counts(connection, wanted, chosen, api.settings.timezone)
    passing, failing = (sum(row[name] for row in found) for name in ("passing", "failing"))
    return Json({"by": chosen, "passing": passing, "failing": failing, "items": found})


@router.get("/predictions/export", summary="All predictions of a filter, as CSV")
async def export(
    _: Viewer,
    api: State,
    wanted: Wanted,
    readings: Annotated[bool, Query(description="Add the features that were used, and the ways of failing.")] = False,
) -> StreamingResponse:
    """Of the same filter: every row, the newest first, in plant time. It comes in pieces, however many there are."""
    pieces = exporting.predictions(api, wanted, readings=readings)
    # The first ones before the answer begins: what is wrong can still be said then.
    first = await run_in_threadpool(lambda: list(itertools.islice(pieces, 2)))
    saved = {"content-disposition": 'attachment; filename="predictions.csv"'}
    return StreamingResponse(itertools.chain(first, pieces), media_type=wire.media_type("csv"), headers=saved)


@router.get("/predictions/{prediction_id}", response_class=Json, summary="A prediction, with features and reason")
def prediction(api: State, prediction_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        found = queries.prediction(connection, prediction_id)
    return Json(stored.whole(api.models, found))


def _bin(wanted: PredictionFilter) -> Bin:
    if wanted.from_ is None:
        return "day"
    until = wanted.to or datetime.now(wanted.from_.tzinfo)
    return "hour" if until - wanted.from_ <= _BY_HOUR else "day"
