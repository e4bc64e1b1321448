"""Simulators share the lock of a drop folder; whoever removes what they left has it alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Conflict
from appliance.names import DEMO

LOCK = f".{DEMO}lock"


@contextmanager
def playing(raw: Path) -> Iterator[None]:
    """While a simulator drops marked files there. Conflict while others are being removed, OSError without a folder."""
    try:
        descriptor = _locked(raw / LOCK, fcntl.LOCK_SH)
    except BlockingIOError:
        raise Conflict(f"Simulated rows are being removed from {raw}.", "Begin again when that is done.") from None
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def silence(raw: Path) -> Iterator[None]:
    """While no simulator may drop anything there; Conflict where one does. The lock goes with it."""
    try:
        descriptor = _locked(raw / LOCK, fcntl.LOCK_EX)
    except FileNotFoundError:
        yield  # no drop folder: nobody can play
        return
    except BlockingIOError:
        raise Conflict(
            f"A simulator is running and drops files into {raw}.",
            "Stop it first: `systemctl disable --now appliance-simulator`, or Ctrl-C where it was started by hand.",
        ) from None
    try:
        yield
    finally:
        (raw / LOCK).unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Its name went between the two calls: whoever comes next would lock another file.
        os.close(descriptor)
