"""A file that a person hands in: looked at first, then predicted part by part, each part once whatever is repeated."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from appliance import features
from appliance.api import answer, wire
from appliance.api.auth import Principal
from appliance.api.state import Api
from appliance.errors import Conflict, DiskTrouble
from appliance.filecheck import folder as folders
from appliance.filecheck import reading, result
from appliance.filecheck.folder import Folder
from appliance.filecheck.reading import PART_ROWS, Upload
from appliance.gate import Format
from appliance.names import printable
from appliance.outputs import read_part
from appliance.predict import NOBODY, predict_rows
from appliance.profile import MACHINE, ROW, Profile
from appliance.serving import Served
from appliance.store import principals

_SHORT = ("id", "name", "profile", "machine", "size", "created_at", "expires_at", "rows", "criticality", "done")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file is handed in as; what does not fit is refused before its bytes are taken."""

    served: Served
    form: Format
    machine: str
    name: str


def wanted(api: Api, profile: str | None, form: Format, machine: str | None, name: str | None) -> Wanted:
    served = api.models.get(profile)
    shown = printable(name or "")[:200]
    return Wanted(served, form, wire.machine_of(machine, served.profile), shown or f"file.{form}")


def look(api: Api, who: Principal, asked: Wanted, upload: Upload, folder: Folder) -> dict[str, Any]:
    """Check a file that has come whole. The same file of the same person under the same model is the same check."""
    profile, version, now = asked.served.profile, asked.served.version, datetime.now(UTC)
    parts = [who.owner, profile.name, profile.contract_hash(), version, asked.machine, asked.form, upload.end()]
    id_ = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    kept = folders.Folder(api.settings.uploads / id_)
    if not kept.path.exists():
        found: dict[str, Any] = {
            "owner": who.owner,
            # The same file after it was forgotten is a new question.
            "once": secrets.token_hex(32),
            "name": asked.name,
            "profile": profile.name,
            "model_version": version,
            "threshold": profile.threshold,
            "machine": None if asked.machine in (NOBODY, "") else asked.machine,
            "format": asked.form,
            "size": folder.upload.stat().st_size,
            "created_at": now.isoformat(),
            "expires_at": (now + timedelta(seconds=folders.KEEP_SECONDS)).isoformat(),
        }
        found |= reading.read(folder, profile, asked.form, asked.machine, now, api.settings)
        api.metrics.refused_rows(profile.name, found["rows"]["bad"])
        folder.write_found(found)
        kept = folders.keep(folder, id_, who.owner)
    return state(kept)


def state(folder: Folder) -> dict[str, Any]:
    """What was found, and how far the predictions are."""
    found = folder.found()
    parts = folder.parts()
    del found["owner"], found["once"]
    return {"id": folder.id, **found, "done": len(parts) == found["parts"], "predicted": result.summed(parts)}


def kept(api: Api, who: Principal) -> list[dict[str, Any]]:
    """The files of this person that are kept, in short, the newest first."""
    listed = []
    for folder in folders.mine(api.settings.uploads, who.owner):
        with suppress(FileNotFoundError):  # it goes just now
            told = state(folder)
            predicted = {name: told["predicted"][name] for name in ("rows", "failing")}
            listed.append({name: told[name] for name in _SHORT} | {"predicted": predicted})
    return listed


def find(api: Api, who: Principal, id_: str) -> Folder:
    return folders.find(api.settings.uploads, id_, who.owner)


def predict_next(api: Api, who: Principal, folder: Folder) -> dict[str, Any]:
    """Predict and store the next part. Under a key of its own: what was stored is never stored again."""
    found, number = folder.found(), len(folder.parts())
    if number < found["parts"]:
        key, replayed = f"file-check:{found['once']}:{number}", True
        with api.transaction() as connection:
            told = principals.recall(connection, who.owner, key, found["once"])
            if told is None:
                replayed = False
                served = api.models.get(found["profile"])
                if served.version != found["model_version"]:
                    raise Conflict(
                        f"The model was changed to {served.version} since this file was looked at.",
                        "Hand the file in again: all of it is predicted by one model.",
                    )
                told = _predict(api, who, folder, number, served, connection)
                principals.remember(connection, who.owner, key, found["once"], told)
        folder.write_part(number, told)
        if not replayed:
            api.metrics.predicted(found["profile"], who.source, told["rows"], told["failing"])
    return state(folder)


def _predict(api: Api, who: Principal, folder: Folder, number: int, served: Served, connection: Any) -> dict[str, Any]:
    profile = served.profile
    frame = read_part(folder.good, number * PART_ROWS, PART_ROWS)
    before = pl.read_parquet(folder.carried(number - 1)) if number and profile.history_rows else None
    done = predict_rows(connection, served, frame, who.source, api.settings, before=before)
    rows = frame.select(ROW).with_columns(**answer.columns(profile, done))
    rows.write_parquet(folder.rows_of_part(number), compression="lz4")
    if (carried := features.carried(profile, before, frame)) is not None:
        carried.write_parquet(folder.carried(number))
    figures = result.figures(rows, [mode.name for mode in profile.modes])
    return {"rows": rows.height, "predicted_at": done.predicted_at.isoformat(), **figures}


def rows(api: Api, folder: Folder, limit: int, offset: int, failing: bool | None) -> list[dict[str, Any]]:
    """Predicted rows, those likeliest to fail first."""
    profile = profile_of(api, folder)
    modes = [mode.name for mode in profile.modes]
    inputs = [column.name for column in profile.columns]
    return [
        {
            "row": row[ROW],
            "id": row["_id"],
            "machine": row[MACHINE] if row[MACHINE] not in (NOBODY, "") else None,
            "probability": row["_probability"],
            "failing": row["_failing"],
            "verdict": answer.verdict(profile, row["_failing"]),
            "reason": row["_reason"],
            "outside": row["_outside"],
            "modes": {name: row.get(f"_mode_{name}") for name in modes},
            "values": {name: row[name] for name in inputs if name in row},
        }
        for row in result.likeliest(folder, len(folder.parts()), limit, offset, failing)
    ]


def whole(api: Api, folder: Folder) -> Iterator[bytes]:
    """The file with its predictions, as CSV."""
    lines = api.settings.line_limit_kb * 1024
    return result.csv(folder, profile_of(api, folder), folder.found()["format"], lines, len(folder.parts()))


def profile_of(api: Api, folder: Folder) -> Profile:
    """The profile that the file was read by, whichever serves by now."""
    found = folder.found()
    return api.models.version(found["profile"], found["model_version"]).profile


@contextmanager
def room() -> Iterator[None]:
    """A full disk in words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskTrouble("The disk of the box is full.", "Free some space; nothing was stored.") from None
        raise
