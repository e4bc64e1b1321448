"""Files that came: what was in them, and what was wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import FileResponse

from appliance.api import query, wire
from appliance.api.auth import Viewer
from appliance.api.query import Cursor, Id, Limit, Moment, ProfileName
from appliance.api.respond import Json
from appliance.api.state import Api, State
from appliance.errors import NotFound
from appliance.store import queries

router = APIRouter(tags=["files"])

# The report brings its own style and nothing else; sandboxed, it can neither run nor send anything.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
# Where things lie on the disk is of no use to a client.
_PATHS = ("good_path", "bad_path", "report_path", "quarantine_path")


@router.get("/files", response_class=Json, summary="Files, the newest first")
def files(
    api: State,
    _: Viewer,
    profile: ProfileName = None,
    criticality: Annotated[Literal["high", "medium", "low"] | None, Query()] = None,
    state: Annotated[
        Literal["ingested", "predicted", "synced", "evicted", "quarantined", "failed"] | None, Query()
    ] = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Json:
    """`from` and `to` are about when a file arrived; `to` itself is left out."""
    zone = api.settings.timezone
    after = query.after(cursor)
    with api.transaction() as connection:
        found = queries.files(
            connection,
            profile=profile,
            criticality=criticality,
            state=state,
            from_=query.moment("from", from_, zone),
            to=query.moment("to", to, zone),
            limit=limit + 1,
            after_id=after,
        )
    return Json(query.page([shown(row) for row in found], limit))


@router.get("/issues", response_class=Json, summary="What rows of all files break, by rule and column")
def totals(
    api: State,
    _: Viewer,
    profile: ProfileName = None,
    from_: Annotated[Moment, Query(alias="from")] = None,
    to: Moment = None,
    limit: Limit = 100,
) -> Json:
    """The most frequent first; `from` and `to` are about when a file arrived, `to` itself is left out."""
    zone = api.settings.timezone
    first, last = query.moment("from", from_, zone), query.moment("to", to, zone)
    with api.transaction() as connection:
        found = queries.issue_totals(connection, profile=profile, from_=first, to=last, limit=limit)
    return Json({"items": found})


@router.get("/files/{file_id}", response_class=Json, summary="A file")
def file(api: State, file_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        found = queries.file(connection, file_id)
    return Json(shown(found))


@router.get("/files/{file_id}/issues", response_class=Json, summary="What rows of a file break, with examples")
def issues(api: State, file_id: Id, _: Viewer) -> Json:
    with api.transaction() as connection:
        queries.file(connection, file_id)
        found = queries.issues(connection, file_id)
    return Json({"items": found})


@router.get("/files/{file_id}/report", response_class=FileResponse, summary="The quality report of a file, as a page")
def report(api: State, file_id: Id, _: Viewer) -> FileResponse:
    path, _name = _path(api, file_id, "report_path", "no report")
    return FileResponse(
        path, media_type="text/html; charset=utf-8", headers={"content-security-policy": _REPORT_POLICY}
    )


@router.get("/files/{file_id}/bad", response_class=FileResponse, summary="The bad rows of a file, to be mended")
def bad(api: State, file_id: Id, _: Viewer) -> FileResponse:
    """The original cells with row number and reasons: mend it in a spreadsheet and drop it again."""
    path, name = _path(api, file_id, "bad_path", "no bad rows")
    disposition = f"attachment; filename=\"{_plain(name)}\"; filename*=UTF-8''{quote(name, safe='')}"
    return FileResponse(path, media_type=wire.media_type("csv"), headers={"content-disposition": disposition})


def shown(row: Any) -> dict[str, Any]:
    """A file as a client sees it."""
    said = {name: value for name, value in row.items() if name not in _PATHS}
    said["has_bad"], said["has_report"] = row.get("bad_path") is not None, row.get("report_path") is not None
    return said


def _path(api: Api, file_id: int, column: str, missing: str) -> tuple[Path, str]:
    """A file of ours below the data folder, and the name under which it is kept."""
    with api.transaction() as connection:
        found = queries.file(connection, file_id)
    if found[column] is None:
        raise NotFound(f"File {file_id} has {missing}.")
    root = api.settings.data_dir.resolve()
    path = (root / found[column]).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NotFound(
            f"File {file_id} has {missing} on this disk any more.", "It may have been evicted after its upload."
        )
    return path, path.name


def _plain(name: str) -> str:
    """A name that is safe between quotes in a header, for clients that read only the plain form."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in name)
