"""Removing files for their age, and the folders that are empty then. Links are removed, never followed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

_DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Removed:
    files: int = 0
    bytes: int = 0


def before_day(
    folder: Path, first: date, removed: Removed, stays: Callable[[Path, date], bool] = lambda path, day: False
) -> None:
    """Remove the files of ``folder/profile=*/date=D/`` for days before ``first``, but for those that stay, with their
    folders."""
    for day, dated in dated_folders(folder):
        if day < first:
            for path in dated.iterdir():
                if (path.is_symlink() or path.is_file()) and not stays(path, day):
                    _remove(path, removed)
            with suppress(OSError):  # something else lies in it
                dated.rmdir()


def empty_days(folder: Path, first: date) -> int:
    """Remove empty folders of days before ``first``; their number. Nobody may be about to put something in."""
    gone = 0
    for day, dated in dated_folders(folder):
        if day < first:
            with suppress(OSError):  # not empty
                dated.rmdir()
                gone += 1
    return gone


def older_than(folder: Path, moment: float, removed: Removed) -> None:
    """Remove files anywhere below ``folder`` that were last written before ``moment`` (seconds since 1970), and folders
    that are empty then and are not in use: nothing was put into them for a day."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in list(entries):
            path = Path(entry.path)
            with suppress(FileNotFoundError):
                # Asked for before its files go, which makes it young again.
                written = entry.stat(follow_symlinks=False).st_mtime
                if not entry.is_dir(follow_symlinks=False):
                    if written < moment:
                        _remove(path, removed)
                    continue
                older_than(path, moment, removed)
                if written < time.time() - _DAY_SECONDS:
                    with suppress(OSError):  # not empty
                        path.rmdir()


def entries_older_than(folder: Path, moment: float, removed: Removed) -> None:
    """Remove what lies directly in ``folder`` and did not change since ``moment``, folders with all that they hold. What
    begins with a dot stays."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            status = path.lstat()
            if path.name.startswith(".") or max(status.st_mtime, status.st_ctime) >= moment:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                removed.files += 1
            else:
                _remove(path, removed)


def dated_folders(folder: Path) -> Iterator[tuple[date, Path]]:
    """The folders ``profile=*/date=D`` with their days, oldest first; what is named otherwise is not ours."""
    found = []
    for path in folder.glob("profile=*/date=*"):
        with suppress(ValueError):
            day = date.fromisoformat(path.name.removeprefix("date="))
            if path.is_dir() and not path.is_symlink() and not path.parent.is_symlink():
                found.append((day, path))
    yield from sorted(found)


def _remove(path: Path, removed: Removed) -> None:
    with suppress(FileNotFoundError):
        size = path.lstat().st_size
        path.unlink()
        removed.files += 1
        removed.bytes += size
