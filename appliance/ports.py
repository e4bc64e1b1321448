"""Which ports of this machine are free."""

from __future__ import annotations

import socket


def choose(wanted: int, *taken: int) -> int:
    """``wanted`` where it is free on loopback and not among ``taken``, else any free one; 0 wants any."""
    if wanted and wanted not in taken and _is_free(wanted):
        return wanted
    while (found := _any()) in taken:
        pass
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
