"""Run the API: ``appliance api``, ``python -m appliance.api``."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from appliance import heap, settings, systemd
from appliance.errors import ApplianceError, SettingError
from appliance.settings import Settings

if TYPE_CHECKING:
    from appliance.api.watchdog import Watchdog

# Longer than the longest request that is allowed to finish, shorter than a service manager's patience.
_GRACE_SECONDS = 30
_IDLE_SECONDS = 20
# Whoever is connected as it stops has as long to say what they want; who connects later waits for the next process.
_HEAR_SECONDS = 3.0
# Of the event loop: to take up a connection, and to read what came on it.
_TURNS = 3

log = logging.getLogger(__name__)


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first. One sentence and exit 1 where it cannot."""
    try:
        run(settings.load())
    except ApplianceError as error:
        print(f"appliance: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def run(box: Settings) -> None:
    logging.basicConfig(
        level=box.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    box.require_dsn()
    with listen(box) as listener:
        # 3 s of imports, which who is refused need not pay; who connects meanwhile is answered afterwards.
        from appliance.api.app import create_app
        from appliance.api.watchdog import Watchdog

        app = create_app(box)
        heap.settle()
        log.info("listening on %s", address(listener))
        server = _Server(
            Watchdog(listener.family, listener.getsockname(), app.state.api.models),
            uvicorn.Config(
                app,
                log_config=None,
                ws="none",
                access_log=False,  # ours has no query strings, in which a token may have gone astray
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                timeout_keep_alive=_IDLE_SECONDS,
            ),
        )
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it answers and when it stops, to the service manager that started it."""

    def __init__(self, watchdog: Watchdog, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._watchdog = watchdog

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watchdog.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watchdog.stop()
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._hear()
        await super().shutdown(sockets)

    async def _hear(self) -> None:
        """Read what was sent already: uvicorn closes on whoever is connected and not heard yet, and loses a request."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _HEAR_SECONDS
        for _ in range(_TURNS):
            await asyncio.sleep(0.01)
        while any(getattr(connection, "cycle", None) is None for connection in self.server_state.connections):
            if self.force_exit or loop.time() > end:
                return
            await asyncio.sleep(0.01)


def listen(box: Settings) -> socket.socket:
    """The socket that the service manager handed over, else the one that the settings name, bound.

    SettingError where another has it.
    """
    if handed := systemd.listeners():
        return _handed(handed)
    return _listen_unix(box.api_socket) if box.api_socket else _listen_tcp(box.api_host, box.api_port)


def address(listener: socket.socket) -> str:
    """How a client writes it."""
    if listener.family == socket.AF_UNIX:
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _handed(sockets: list[socket.socket]) -> socket.socket:
    first = sockets[0]
    if len(sockets) > 1 or not first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        for each in sockets:
            each.close()
        raise SettingError(
            "The API was started with sockets that are not for it.",
            "Its socket unit has one ListenStream= and no more.",
        )
    return first


def _listen_tcp(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen()
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise SettingError(
            f"The API cannot listen on {host} port {port} ({error.strerror or error}).",
            "Is it running already? Else change api_host or api_port.",
        ) from None
    return listener


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Whoever may write to the socket may try tokens, so it is for its owner and group alone, from its first moment on.
    before = os.umask(0o117)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        # At once: one that is bound and does not listen looks like a stale one.
        listener.listen()
    except OSError as error:
        listener.close()
        raise SettingError(
            f"The API cannot listen on {path} ({error.strerror or error}).",
            "Change api_socket, or the rights of its folder.",
        ) from None
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more: one outlives a process that was killed."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingError(f"{path} is there and is no socket.", "Change api_socket, or move that file away.")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SettingError(f"Another API listens on {path}.", "Stop it first, or change api_socket.")
