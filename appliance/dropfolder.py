"""What lies in the drop folder, seen without opening anything but folders.

Layout: ``raw_data/<profile>/FILE`` or ``raw_data/<profile>/<folder>/FILE``. Folders are walked by descriptors that
follow no link, so that nobody can lead the appliance out of the drop folder, not even by a swap at the right moment.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload")
_LITTER = frozenset({"desktop.ini", "thumbs.db"})


@dataclass(frozen=True, slots=True)
class Identity:
    """What must not change between two looks, nor until the original is removed."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Look:
    """An entry as one look saw it. ``folder`` is '' where it lies directly in the profile's folder."""

    path: Path
    profile: str
    folder: str
    identity: Identity
    kind: Literal["file", "symlink", "other"]
    links: int

    @property
    def raw(self) -> Path:
        return self.path.parents[2 if self.folder else 1]


def look(raw: Path, profiles: Collection[str]) -> dict[Path, Look]:
    """What lies in the drop folder now, unfinished files and litter left out."""
    return {seen.path: seen for seen in _entries(raw, profiles)}


def anything(raw: Path, profiles: Collection[str]) -> bool:
    """Whether :func:`look` would find anything."""
    return next(_entries(raw, profiles), None) is not None


def settled(first: Mapping[Path, Look], second: Mapping[Path, Look]) -> list[Look]:
    """Entries on which two looks, a settle time apart, agree; the oldest first.

    Times of files are compared with each other only, never with the clock of this box.
    """
    agreed = [seen for path, seen in second.items() if first.get(path) == seen]
    return sorted(agreed, key=lambda seen: (seen.identity.mtime_ns, os.fsencode(seen.path)))


def strays(raw: Path, profiles: Collection[str]) -> list[Path]:
    """What nobody will ever take: beside the folders of the profiles, or too deep below them."""
    lost = []
    with suppress(FileNotFoundError):
        lost = [path for path in raw.iterdir() if path.name not in profiles and not _is_ignored(path.name)]
    for profile in profiles:
        if (raw / profile).is_symlink():
            lost.append(raw / profile)
        for folder in _folders(raw / profile):
            lost += [raw / profile / folder / deep for deep in _folders(raw / profile / folder)]
    return sorted(lost)


@contextmanager
def parent(raw: Path, path: Path) -> Iterator[int]:
    """A descriptor of the folder that holds ``path``, reached from ``raw`` without following a link."""
    with ExitStack() as stack:
        descriptor = os.open(raw, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        for step in path.parent.relative_to(raw).parts:
            descriptor = os.open(step, _FOLDER, dir_fd=descriptor)
            stack.callback(os.close, descriptor)
        yield descriptor


def status_of(descriptor: int, name: str) -> os.stat_result | None:
    """lstat of an entry, None where there is none."""
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _entries(raw: Path, profiles: Collection[str]) -> Iterator[Look]:
    for profile in sorted(profiles):
        for folder in ("", *_folders(raw / profile)):
            here = raw / profile / folder
            with suppress(FileNotFoundError, NotADirectoryError), parent(raw, here / "entry") as descriptor:
                for name in os.listdir(descriptor):  # noqa: PTH208 - a descriptor, which no link can redirect
                    seen = None if _is_ignored(name) else _seen(descriptor, here / name, profile, folder)
                    if seen is not None:
                        yield seen


def _folders(path: Path) -> list[str]:
    try:
        if path.is_symlink():
            return []
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _seen(descriptor: int, path: Path, profile: str, folder: str) -> Look | None:
    status = status_of(descriptor, path.name)
    if status is None or stat.S_ISDIR(status.st_mode):
        return None
    kind: Literal["file", "symlink", "other"] = "other"
    if stat.S_ISREG(status.st_mode):
        kind = "file"
    elif stat.S_ISLNK(status.st_mode):
        kind = "symlink"
    return Look(path, profile, folder, Identity.of(status), kind, status.st_nlink)


def _is_ignored(name: str) -> bool:
    lower = name.lower()
    return name.startswith((".", "~$")) or lower.endswith(_UNFINISHED) or lower in _LITTER
