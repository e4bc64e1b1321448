"""A file that a person wants to know about: first what is bad in it, then its good rows predicted and stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from appliance.api import checking, wire
from appliance.api.auth import Operator
from appliance.api.query import Limit, ProfileName, Text
from appliance.api.respond import Json
from appliance.api.state import Api, State
from appliance.errors import Conflict, NotFound, UnsupportedMedia
from appliance.filecheck import folder as folders
from appliance.filecheck import result
from appliance.filecheck.reading import Upload

router = APIRouter(tags=["file checks"])

_BLOCK = 1024 * 1024
# A name that nobody guesses, and no number.
CheckName = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            wire.CSV: {"schema": {"type": "string", "description": "As the machine writes it; the profile says how."}},
            wire.PARQUET: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "/file-checks",
    response_class=Json,
    status_code=201,
    openapi_extra=_BODY,
    summary="Hand in a file and see what is bad in it",
)
async def create(
    request: Request,
    api: State,
    who: Operator,
    profile: ProfileName = None,
    machine: Text = None,
    name: Annotated[str | None, Query(max_length=300, pattern=r"^[^\x00]*$", description="As it is shown.")] = None,
) -> Json:
    """Its rows are counted and judged by the contract; no prediction is made and nothing is stored but the file itself,
    for twelve hours and for whoever handed it in. The same file again is the same check."""
    form = wire.format_of(request.headers.get("content-type"))
    if form == "json":
        raise UnsupportedMedia("A file is CSV or Parquet.", f"Say Content-Type: {wire.CSV} or {wire.PARQUET}.")
    async with api.large:
        with checking.room():
            asked = await run_in_threadpool(checking.wanted, api, profile, form, machine, name)
            await run_in_threadpool(folders.sweep, api.settings.uploads)
            with folders.made(api.settings.uploads) as folder:
                upload = Upload(folder, asked.served.profile, form)
                try:
                    await _taken(request, upload)
                    return Json(await run_in_threadpool(checking.look, api, who, asked, upload, folder), 201)
                finally:
                    upload.close()


@router.get("/file-checks", response_class=Json, summary="The files that one handed in lately")
def kept(api: State, who: Operator) -> Json:
    """In short, the newest first: a few of each person are kept, for twelve hours."""
    return Json({"items": checking.kept(api, who)})


@router.get("/file-checks/{check}", response_class=Json, summary="What was found in a file, and how far it is")
def read(api: State, who: Operator, check: CheckName) -> Json:
    """Counts, issues and the first bad rows; once parts are predicted, figures and a histogram of probabilities."""
    return Json(checking.state(checking.find(api, who, check)))


@router.post(
    "/file-checks/{check}/predict", response_class=Json, summary="Predict and store the next good rows of a file"
)
def predict(api: State, who: Operator, check: CheckName) -> Json:
    """Up to 50,000 rows, in one transaction; call it until `done`. A call that is repeated stores no row twice, and who
    stops calling leaves the rest unpredicted. Conflict where the model was changed meanwhile."""
    with checking.room():
        return Json(checking.predict_next(api, who, checking.find(api, who, check)))


@router.get("/file-checks/{check}/rows", response_class=Json, summary="Predicted rows, the likeliest to fail first")
def rows(
    api: State,
    who: Operator,
    check: CheckName,
    verdict: Annotated[Literal["failing", "passing"] | None, Query()] = None,
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Json:
    folder = checking.find(api, who, check)
    failing = None if verdict is None else verdict == "failing"
    return Json({"items": checking.rows(api, folder, limit, offset, failing)})


@router.get("/file-checks/{check}/bad", response_class=FileResponse, summary="The bad rows as CSV, to be mended")
def bad(api: State, who: Operator, check: CheckName) -> FileResponse:
    """The cells as they came with a reason for each row: mend them, and hand the file in again."""
    folder = checking.find(api, who, check)
    if not folder.bad.exists():
        raise NotFound("This file has no bad rows.")
    disposition = _saved_as(f"bad rows of {_stem(folder)}.csv")
    return FileResponse(folder.bad, media_type=f"{wire.CSV}; charset=utf-8", headers=disposition)


@router.get("/file-checks/{check}/result", summary="The whole file with its predictions")
def whole(
    api: State,
    who: Operator,
    check: CheckName,
    format: Annotated[Literal["csv", "parquet"], Query()] = "csv",  # noqa: A002 - the word that users know
) -> Response:
    """CSV: every row as it came, with its prediction or the reasons why it has none, in the separator and decimal sign of
    the profile. Parquet: the good rows, typed. Conflict before all good rows are predicted."""
    folder = checking.find(api, who, check)
    told = checking.state(folder)
    if not told["done"]:
        raise Conflict("Not all good rows of this file are predicted yet.", "Predict them first.")
    saved = _saved_as(f"{_stem(folder)} with predictions.{format}")
    if format == "csv":
        return StreamingResponse(checking.whole(api, folder), media_type=f"{wire.CSV}; charset=utf-8", headers=saved)
    if not told["rows"]["good"]:
        raise NotFound("This file has no good rows.")
    return StreamingResponse(_parquet(api, folder), media_type=wire.PARQUET, headers=saved)


@router.delete("/file-checks/{check}", status_code=204, summary="Forget a file that was handed in")
def forget(api: State, who: Operator, check: CheckName) -> Response:
    """The file and what was made of it. Predictions that were stored stay."""
    checking.find(api, who, check).remove()
    return Response(status_code=204)


async def _taken(request: Request, upload: Upload) -> None:
    """The body to the disk, in blocks that are worth a thread."""
    block = bytearray()
    async for chunk in request.stream():
        block += chunk
        if len(block) >= _BLOCK:
            await run_in_threadpool(upload.write, bytes(block))
            block.clear()
    await run_in_threadpool(upload.write, bytes(block))


def _parquet(api: Api, folder: folders.Folder) -> Iterator[bytes]:
    with checking.room(), folders.made(api.settings.uploads) as place:
        target = place.path / "result"
        result.parquet(folder, checking.profile_of(api, folder), len(folder.parts()), target)
        with target.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


def _stem(folder: folders.Folder) -> str:
    return str(folder.found()["name"]).rpartition(".")[0] or "file"


def _saved_as(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
