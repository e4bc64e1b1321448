"""Our end of the process that talks to targets (:mod:`appliance.notify_child`)."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from appliance.notify_words import Message

BROKEN = "The process that sends messages broke off."
# What Apprise has no use for must not be read out of the process that speaks with strangers.
_OURS = ("APPLIANCE_", "AIRFLOW_", "_AIRFLOW", "CREDENTIALS_DIRECTORY")


class Courier:
    """Sends messages, each on its own, in a child process that is started by the first and ends with the block.

    URLs go through a pipe, never into the arguments, the environment or a file.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._number = 0
        self._open: set[int] = set()

    def __enter__(self) -> Courier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            # Nothing is lost by it: a message that is still on its way counts as failed, and is tried again.
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def send(self, url: str, message: Message) -> int:
        """Begin to send; the number under which :meth:`answer` will tell what became of it."""
        return self._ask({"url": url, "title": message.title, "body": message.body, "tone": message.tone})

    def look(self, url: str) -> int:
        """Begin to look whether the URL can be used; the same."""
        return self._ask({"url": url})

    def answer(self, seconds: float) -> tuple[int, str | None] | None:
        """The next that is done, with the reason where it failed; None where none is within so many seconds."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            if not self._open or (chunk := self._read(deadline - time.monotonic())) is None:
                return None
            if not chunk:
                return self._open.pop(), BROKEN
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        told = json.loads(line)
        self._open.discard(told["id"])
        return told["id"], told["error"]

    def _ask(self, job: Mapping[str, Any]) -> int:
        self._number += 1
        self._open.add(self._number)
        if self._child is None:
            self._child = _start()
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"id": self._number, **job}).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # the end of its output tells it, for this message as for those before
        return self._number

    def _read(self, seconds: float) -> bytes | None:
        """What it says next, b'' once it is gone; None where it says nothing for so long."""
        assert self._child is not None
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if seconds <= 0 or not selector.select(seconds):
                return None
        return os.read(self._child.stdout.fileno(), 65_536)


def _start() -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return subprocess.Popen(
        [sys.executable, "-m", "appliance.notify_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Warnings and tracebacks of services: they may hold an address.
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
