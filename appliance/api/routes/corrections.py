"""Bad rows that come back mended."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from appliance import corrections
from appliance.api import wire
from appliance.api.auth import Operator, Viewer
from appliance.api.query import Id
from appliance.api.respond import Json
from appliance.api.routes.files import shown
from appliance.api.state import Api, State
from appliance.errors import UnsupportedMedia
from appliance.store import journal, queries

router = APIRouter(tags=["files"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            wire.CSV: {
                "schema": {
                    "type": "string",
                    "description": "What `GET /files/{file_id}/bad` gave, mended, with our columns left as they are.",
                }
            }
        },
    }
}


@router.get("/files/{file_id}/corrections", response_class=Json, summary="Mended rows of a file that came back")
def listed(api: State, file_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        queries.file(connection, file_id)
        found = queries.files(connection, mended_from=file_id, limit=1000)
    return Json({"items": [shown(row) for row in found]})


@router.post(
    "/files/{file_id}/corrections",
    response_class=Json,
    status_code=202,
    openapi_extra=_BODY,
    summary="Send bad rows of a file back, mended",
)
async def correct(request: Request, api: State, file_id: Id, who: Operator) -> Json:
    """They are checked at once, and put into the drop folder, where the next pass takes them as it takes any file: good
    rows are predicted, and those that are still bad can be mended again. Refused where not one of them is good."""
    if wire.format_of(request.headers.get("content-type")) != "csv":
        raise UnsupportedMedia("Mended rows come as CSV.", f"Say Content-Type: {wire.CSV}.")
    async with api.large:
        body = await request.body()
        return Json(await run_in_threadpool(_taken, api, file_id, who.noted, body), 202)


def _taken(api: Api, file_id: int, who: str, body: bytes) -> dict[str, Any]:
    with api.transaction() as connection:
        file = queries.file(connection, file_id)
    profile = api.models.get(file["profile"]).profile
    mended = corrections.check(body, file, profile, datetime.now(UTC))
    digest = hashlib.sha256(body).hexdigest()
    with api.transaction() as connection:
        told = {"file": file_id, "sha256": digest, "rows": mended.rows, "by": who}
        said = f"{who} sent {mended.rows:,} mended rows of file {file_id} ({file['name']})."
        journal.event(connection, "correction", "info", said, told)
        name = corrections.put(api.settings.raw, body, file, profile)
    return {
        "file_id": file_id,
        "name": name,
        "rows": {"received": mended.rows, "good": mended.good, "bad": mended.bad},
        "rejected": mended.rejected,
    }
