"""Bad rows that a person mended, sent back over the API: checked, and put into the drop folder as a machine's file.

From there they walk the same road as any file; that they know which file they came from makes the lineage.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from appliance import dropfolder, quality, reader
from appliance.errors import ApplianceError, Conflict, DiskTrouble, RequestError, RowsRefused, SettingError
from appliance.names import DEMO, as_demo, is_demo
from appliance.profile import ROW, Profile
from appliance.spreadsheet import REASONS

LISTED = 100
_DAY = 86_400
_MENDED = re.compile(r"\.mended-\d+-[0-9a-f]{8}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_PART = ".part"


@dataclass(frozen=True, slots=True)
class Mended:
    """What the rows are now: ``rejected`` are the first of the bad ones, as ``{row, reasons}``."""

    rows: int
    good: int
    bad: int
    rejected: list[dict[str, Any]]


def check(body: bytes, file: Mapping[str, Any], profile: Profile, now: datetime) -> Mended:
    """Judge mended rows of ``file`` by the contract that holds now.

    FileRefused where they cannot be read, RequestError where they are not those of this file, RowsRefused where not one
    of them is good.
    """
    if not file["rows_bad"]:
        raise Conflict(f"File {file['id']} has no bad rows to mend.")
    if "csv" not in profile.file.formats:
        raise Conflict(
            f"The profile {profile.name!r} takes no CSV files, as which mended rows come back.",
            "Mend them at their source, or add csv to the formats of the profile.",
        )
    good = bad = 0
    rejected: list[dict[str, Any]] = []
    with reader.read_bytes(body, "csv", profile) as batches:
        checker = quality.Checker(profile, batches.header, file["origin"], now)
        for batch in batches:
            checked = checker.check(batch)
            good, bad = good + checked.good.height, bad + checked.bad.height
            rejected += _listed(checked.bad.head(LISTED - len(rejected)))
        if {number.removeprefix(DEMO) for number in batches.corrects} != {str(file["id"])}:
            raise RequestError(
                f"These are not the bad rows of file {file['id']}: their column _file says otherwise.",
                f"Mend what GET /files/{file['id']}/bad gives, and leave the columns that begin with _ as they are.",
            )
    if not good:
        said = "The row still breaks" if bad == 1 else f"All {bad:,} rows still break"
        raise RowsRefused(
            f"{said} the contract.", rejected, "Nothing was taken. Mend at least one, and send them again."
        )
    return Mended(good + bad, good, bad, rejected)


def put(raw: Path, body: bytes, file: Mapping[str, Any], profile: Profile) -> str:
    """Put the rows into the drop folder, where the next pass takes them; the file's name there.

    The same rows sent again are the same file. Conflict, DiskTrouble, SettingError (the folder is not ours to write).
    """
    name = _name(body, file, profile)
    folder = file["origin"] if profile.machine.from_ == "folder" else ""
    path = raw / profile.name / folder / name
    try:
        _make_folders(raw, path)
        with dropfolder.parent(raw, path) as here:
            _sweep(here)
            if dropfolder.status_of(here, name) is None:
                _write(here, name, body)
    except OSError as error:
        raise _trouble(error) from None
    return name


def _name(body: bytes, file: Mapping[str, Any], profile: Profile) -> str:
    """A new name that says the same machine as the old one, where names say it."""
    mark = DEMO if is_demo(file["origin"]) else ""
    stem = _MENDED.sub("", Path(file["name"]).stem)
    stem = _UNSAFE.sub("_", stem).strip("._")[:80] or "rows"
    name = f"{stem}.mended-{file['id']}-{hashlib.sha256(body).hexdigest()[:8]}.csv"
    name = as_demo(name) if mark else name
    if profile.machine.from_ == "filename":
        found = re.search(profile.machine.pattern or "", name.removeprefix(mark))
        if found is None or found.group(1) != file["origin"].removeprefix(mark):
            raise Conflict(
                f"The machine is told by the file's name, and {name!r} does not tell it.",
                "Mend the bad rows in a spreadsheet, and drop them by hand under a name that does.",
            )
    return name


def _make_folders(raw: Path, path: Path) -> None:
    """Whoever dropped the file before may have taken its folder away again."""
    for folder in reversed(path.relative_to(raw).parents[:-1]):
        with dropfolder.parent(raw, raw / folder) as above, suppress(FileExistsError):
            os.mkdir(folder.name, 0o770, dir_fd=above)


def _write(here: int, name: str, body: bytes) -> None:
    """Under a name that no pass looks at, made durable, and only then under its own."""
    aside = f".{name}.{secrets.token_hex(4)}{_PART}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(aside, flags, 0o640, dir_fd=here), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, name, src_dir_fd=here, dst_dir_fd=here)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside, dir_fd=here)
        raise
    os.fsync(here)


def _sweep(here: int) -> None:
    """What a killed process left of a file that it wrote aside."""
    for name in os.listdir(here):
        if name.startswith(".") and ".mended-" in name and name.endswith(_PART):
            status = dropfolder.status_of(here, name)
            if status is not None and status.st_mtime < time.time() - _DAY:
                with suppress(OSError):
                    os.unlink(name, dir_fd=here)


def _trouble(error: OSError) -> ApplianceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskTrouble("The disk is full.", "Free some space, and send the rows again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SettingError(
            "The API may not write into the drop folder.",
            "Let its service write into raw_data, or drop the mended file by hand.",
        )
    return DiskTrouble(f"The drop folder cannot be written ({error.strerror}).", "Look at the box's disk.")


def _listed(bad: pl.DataFrame) -> list[dict[str, Any]]:
    reasons = (text.split("; ") for text in bad[REASONS].to_list())
    return [{"row": row, "reasons": said} for row, said in zip(bad[ROW].to_list(), reasons, strict=True)]
