"""Ends all processes of a server at once, as a power cut does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_GONE_SECONDS = 60.0


def kill_in(folder: Path) -> list[int]:
    """Kill those whose working folder lies there, as that of a PostgreSQL's does; their numbers. Asks no disk."""
    killed: list[int] = []
    # One that was just begun is seen the second time.
    while new := [number for number in _working_in(folder) if number not in killed]:
        for number in new:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        killed += new
    return killed


def _working_in(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "cwd").readlink().is_relative_to(folder):
                    found.append(int(process.name))
    return found


def await_end(numbers: Sequence[int]) -> None:
    until = time.monotonic() + _GONE_SECONDS
    while any(_lives(number) for number in numbers):
        assert time.monotonic() < until, "a killed process does not end"
        time.sleep(0.002)


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
