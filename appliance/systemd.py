"""What a service tells systemd, and what it is handed: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

Outside of systemd each of these does nothing.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

_FIRST_DESCRIPTOR = 3
_SECONDS = 1.0


def notify(**state: object) -> None:
    """Tell the manager, as ``notify(READY=1, STATUS="serving")``. One that does not listen stops nobody from serving."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    message = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in state.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(_SECONDS)
        manager.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        manager.sendall(message.encode())


def watchdog_seconds() -> float | None:
    """After how much silence this process is killed; None where nobody waits for it."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdecimal() and int(text) else None


def listeners() -> list[socket.socket]:
    """The sockets that this process was started with; the next call, and children, find none."""
    count = os.environ.pop("LISTEN_FDS", "")
    meant_for = os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not count.isdecimal():
        return []
    handed = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    for descriptor in handed:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in handed]
