"""The monitor that is plugged into this box, as its X server knows it: how large the picture is, and whether it is lit."""

from __future__ import annotations

import re
import subprocess

XRANDR = ("/usr/bin/xrandr",)

_SECONDS = 10.0
_SIZE = re.compile(r"^Screen 0:.*\bcurrent (\d+) x (\d+)", re.MULTILINE)
# An output with its modes below it: one that has a place in the picture says where, as 1920x1080+0+0.
_OUTPUT = re.compile(r"^\S+ connected\b(?P<place>.*)\n(?= )", re.MULTILINE)
_PLACE = re.compile(r"\b\d+x\d+\+\d+\+\d+")


def size() -> tuple[int, int] | None:
    """Width and height of the picture in pixels; None where no X server answers.

    A monitor that was plugged in or switched on since is lit first: the X server alone leaves it dark.
    """
    said = _ask("--current")
    if dark(said):
        _ask("--auto")
        said = _ask("--current")
    found = _SIZE.search(said)
    return (int(found[1]), int(found[2])) if found else None


def dark(said: str) -> bool:
    """Whether a monitor is there that could show something, and is not used."""
    return any(not _PLACE.search(output["place"]) for output in _OUTPUT.finditer(said))


def _ask(*words: str) -> str:
    try:
        return subprocess.run(
            [*XRANDR, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
