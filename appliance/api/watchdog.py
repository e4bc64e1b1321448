"""Tells systemd that the API lives, while it does: it answers, and its models still know what they knew.

A process may hang without ending: then nothing is told, and systemd starts it anew. The database has no say here; no
restart of the API brings that back.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

from appliance import systemd
from appliance.bundle_check import prove
from appliance.errors import BundleRefused
from appliance.serving import Models

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_TURNS = 3  # looks in the time after which systemd loses patience
_REQUEST = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


class Watchdog:
    """Looks in a thread of its own: those that serve requests may all wait for a database that does not answer."""

    def __init__(self, family: int, name: Any, models: Models) -> None:
        """``family`` and ``name`` are those of the socket that is served, as ``getsockname`` tells the latter."""
        self._family, self._name = family, name
        self._models = models
        self._done = threading.Event()

    def start(self) -> None:
        """Say that the service is ready; from now on that it lives."""
        systemd.notify(READY=1, STATUS=status(self._models))
        if patience := systemd.watchdog_seconds():
            threading.Thread(target=self._watch, args=(patience / _TURNS,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Say that it stops; what is under way is finished first."""
        systemd.notify(STOPPING=1, STATUS="Finishing requests")
        self._done.set()

    def _watch(self, seconds: float) -> None:
        while not self._done.wait(seconds):
            if found := self.trouble():
                log.error("not well, and systemd will know: %s", found)
                systemd.notify(STATUS=found)
            else:
                systemd.notify(WATCHDOG=1, STATUS=status(self._models))

    def trouble(self) -> str | None:
        """What is wrong with this process; None where it does its work."""
        try:
            with socket.socket(self._family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_ANSWER_SECONDS)
                probe.connect(self._name)
                probe.sendall(_REQUEST)
                answer = probe.recv(64)
        except OSError as error:
            return f"The API does not answer itself ({error.strerror or error})."
        if not answer.startswith(b"HTTP/1.1 200 "):
            return f"The API answers itself {answer[:32]!r}."
        for served in self._models.all():
            try:
                prove(served.scorer, served.bundle.golden)
            except BundleRefused as refused:
                return f"{served.profile.name} {served.version}: {refused.message}"
        return None


def status(models: Models) -> str:
    """What serves, in one line for ``systemctl status``."""
    names = [f"{served.profile.name} {served.version}" for served in models.all()]
    return f"Serving {', '.join(names)}" if names else "No model serves yet"
