"""The folder of one file that is being checked: its bytes, what was found in it, and its predicted parts.

Nothing of it is a record: the predictions are in the database, and the folder goes after some hours. A folder is made
under another name and appears whole; a part is there once its JSON is.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from appliance.errors import NotFound

KEEP_SECONDS = 12 * 3600.0
# A folder holds the file, its good rows and its predictions: some three times the file.
MOST_EACH = 3
_ID = re.compile(r"[0-9a-f]{32}")
_NEW = "new-"
# One that nobody finished within this time belongs to a process that is gone.
_NEW_SECONDS = 3600.0


class Folder:
    """Paths of one file that is being checked, and the words kept beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.upload = path / "upload"
        self.good = path / "good.parquet"
        self.bad = path / "bad.csv"
        self.reasons = path / "reasons.parquet"
        self._found = path / "found.json"

    @property
    def id(self) -> str:
        return self.path.name

    def found(self) -> dict[str, Any]:
        """What :func:`write_found` was given."""
        told: dict[str, Any] = json.loads(self._found.read_bytes())
        return told

    def write_found(self, found: dict[str, Any]) -> None:
        self._found.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")

    def parts(self) -> list[dict[str, Any]]:
        """What is known of the parts that are predicted, in order."""
        return [json.loads(path.read_bytes()) for path in sorted(self.path.glob("part-*.json"))]

    def write_part(self, number: int, told: dict[str, Any]) -> None:
        temporary = self.path / f".part-{number:06}"
        temporary.write_text(json.dumps(told), encoding="utf-8")
        temporary.replace(self.path / f"part-{number:06}.json")

    def rows_of_part(self, number: int) -> Path:
        """Its predictions. They may lie here before they are stored; :meth:`parts` says which are."""
        return self.path / f"part-{number:06}.parquet"

    def carried(self, number: int) -> Path:
        """The last rows of each machine up to the end of that part, for windows of the next."""
        return self.path / f"carried-{number:06}.parquet"

    def remove(self) -> None:
        """Out of sight at once, so that nobody finds half of it."""
        gone = self.path.with_name(f"{_NEW}{secrets.token_hex(8)}")
        with suppress(FileNotFoundError):
            self.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def made(root: Path) -> Iterator[Folder]:
    """A new folder that nobody finds yet; :func:`keep` makes it one, and leaving without that drops it."""
    root.mkdir(parents=True, exist_ok=True)
    folder = Folder(root / f"{_NEW}{secrets.token_hex(8)}")
    folder.path.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def keep(folder: Folder, id_: str, owner: str) -> Folder:
    """Under its id from now on. Where the same is there already, that one stays: its parts may be predicted."""
    kept = Folder(folder.path.with_name(id_))
    if not kept.path.exists():
        try:
            folder.path.rename(kept.path)
        except OSError:
            if not kept.path.exists():
                raise
    _only_newest(kept, owner)
    return kept


def find(root: Path, id_: str, owner: str) -> Folder:
    """NotFound for one that is gone, and for another's: what people hand in is their own business."""
    folder = Folder(root / id_)
    try:
        if _ID.fullmatch(id_) and folder.found()["owner"] == owner:
            return folder
    except FileNotFoundError:
        pass
    hours = KEEP_SECONDS / 3600
    raise NotFound("This checked file is not here any more.", f"Hand it in again; it is kept for {hours:.0f} hours.")


def mine(root: Path, owner: str) -> list[Folder]:
    """All of one owner's that are kept, the newest first."""
    found: list[tuple[float, Folder]] = []
    for path in root.glob("*") if root.is_dir() else ():
        with suppress(FileNotFoundError):
            folder = Folder(path)
            if _ID.fullmatch(path.name) and folder.found()["owner"] == owner:
                found.append((_since(path), folder))
    return [folder for _, folder in sorted(found, key=lambda pair: pair[0], reverse=True)]


def sweep(root: Path, now: float | None = None) -> int:
    """Remove what is older than it is kept for; the number of folders."""
    gone = 0
    for path in root.glob("*") if root.is_dir() else ():
        limit = _NEW_SECONDS if path.name.startswith(_NEW) else KEEP_SECONDS
        with suppress(FileNotFoundError):
            if (time.time() if now is None else now) - _since(path) > limit:
                Folder(path).remove()
                gone += 1
    return gone


def _only_newest(kept: Folder, owner: str) -> None:
    others = [folder for folder in mine(kept.path.parent, owner) if folder.path != kept.path]
    for folder in others[MOST_EACH - 1 :]:
        folder.remove()


def _since(path: Path) -> float:
    """When it was made: nothing touches the uploaded bytes afterwards."""
    upload = path / "upload"
    return (upload if upload.exists() else path).stat().st_mtime
