"""A plant that plays for months: what is in its way is waited for, and said once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from appliance import demo_lock
from appliance.errors import Conflict
from model.plants.drop import Dropper
from model.plants.stopping import Stop

PAUSE_SECONDS = 10.0
# The same trouble is told again after so long.
_SAID_SECONDS = 3600.0


def play_on(raw: Path, dropper: Dropper, play: Callable[[], None], stop: Stop, *, again: bool) -> None:
    """``play`` under the lock that keeps those out who remove its files, until it ends or ``stop`` is set.

    A raw folder that is missing is waited for. Where a disk fails or is full in the middle, the play begins anew if it
    may do so ``again``: it goes on where it was, and at most the file at hand is lost.
    """
    said, at = "", 0.0
    while not stop.is_set():
        begun = False
        try:
            with demo_lock.playing(raw):
                begun = True
                dropper.tidy()
                play()
            return
        except (Conflict, OSError) as error:
            if begun and not again:
                raise
            trouble = str(error) if isinstance(error, Conflict) else f"{error.filename or raw}: {error.strerror}."
            if trouble != said or time.monotonic() - at > _SAID_SECONDS:
                print(f"appliance simulate: {trouble} Waiting.", file=sys.stderr, flush=True)  # noqa: T201
                said, at = trouble, time.monotonic()
        stop.wait(PAUSE_SECONDS)
