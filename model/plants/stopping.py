"""How whoever plays a plant is told to stop."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import Protocol


class Stop(Protocol):
    """What :class:`threading.Event` offers to whoever waits for it."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class BySignals:
    """Set by SIGTERM and SIGINT.

    No :class:`threading.Event`: its lock may be held by the very code that a handler interrupts, which then waits for
    itself for ever.
    """

    def __init__(self) -> None:
        self._told = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)

    def is_set(self) -> bool:
        return self._told

    def wait(self, timeout: float | None = None) -> bool:
        """True once it is set; after ``timeout`` seconds whether it is."""
        if not self._told:
            select.select([self._reader], [], [], timeout)
        return self._told

    def _tell(self, *_: object) -> None:
        self._told = True
        with suppress(BlockingIOError):  # told often enough
            os.write(self._writer, b"\0")
