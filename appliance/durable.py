"""Files and folders that are there after a power cut, or not there at all.

A rename survives a power cut only when the file was fsynced before it and its folder after it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_WORKSPACE = ".new-"


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: another process, or one after a power cut, sees the old or the new, never a half."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _create(temporary, data, mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Like :func:`write`, but FileExistsError where there is something under that name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _create(temporary, data, mode)
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write new files into an existing folder and make them and the folder durable."""
    for name, data in files.items():
        _create(folder / name, data, 0o644)
    sync_folder(folder)


def sync_file(path: Path) -> None:
    """Have what others wrote there on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the one lock of a folder; it goes with the process that holds it.

    Whoever writes files in such a folder does it under this lock: unfinished ones found here are a killed writer's.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        clear_unfinished(folder)
        yield
    finally:
        os.close(descriptor)


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed process had begun to write there; for who holds the lock of all that write there."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


@contextmanager
def exclusive(lock: Path, busy: Exception, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock that is this file; ``busy`` where another does, unless that is to be waited for. It goes with the
    process that holds it."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A new folder below ``parent`` to build something in and rename it away; what is left of it goes at the end.

    Its maker holds a lock on it, so that the next one may sweep what a killed process left.
    """
    with locked(parent):
        _sweep(parent)
        folder = parent / f"{_WORKSPACE}{secrets.token_hex(6)}"
        folder.mkdir(mode=0o755)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    for left in parent.glob(f"{_WORKSPACE}*"):
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def _create(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
