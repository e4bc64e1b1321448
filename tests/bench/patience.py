"""Waiting for a quiet machine, which one that others work on is now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench import machine

# Others that take more than this share of the CPU make a figure doubtful.
QUIET = 0.05
LOOK_SECONDS = 3.0


class Patience:
    """Waits for a quiet machine, and measures again what was disturbed, until its minutes are over."""

    def __init__(self, minutes: float) -> None:
        self._until = time.monotonic() + 60 * minutes

    @property
    def minutes(self) -> float:
        """What is left of it."""
        return max(0.0, self._until - time.monotonic()) / 60

    def measure(self, what: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """``run`` gives, among others, ``others``: the share of the CPU that other programs took meanwhile."""
        while True:
            self._wait()
            say(what)
            found = run()
            if found["others"] <= QUIET or not self.minutes:
                return found
            say(f"other programs took {found['others']:.0%} of the CPU; once more")

    def _wait(self) -> None:
        while self.minutes:
            others = machine.Others()
            time.sleep(LOOK_SECONDS)
            if others.share() <= QUIET:
                return


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
