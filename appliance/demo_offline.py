"""``demo --offline``: weeks without a network, in a minute. A stand-in for S3, and a road to it that is cut and opened.

Copying goes on all the while, as on a box: it fails, what it was to copy waits, and once the road is open it drains. In
the end the audit reads every object back and compares it with the ledger.
"""

from __future__ import annotations

import os
import secrets
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from appliance import audit, children, outbox, ports
from appliance.errors import ApplianceError, BucketTrouble, SettingError
from appliance.pipeline import Box
from appliance.store import engine
from appliance.store import outbox as store
from appliance.store.outbox import Standing

SECONDS_CUT = 60.0
SECONDS_BETWEEN_PASSES = 5.0
# The stand-in lets everybody in, and still wants requests to be signed.
_KEYS = "demo:demo"
_START_SECONDS = 60.0
_BLOCK = 1 << 16


def require() -> None:
    """SettingError where the stand-in is not installed."""
    if find_spec("moto") is None or find_spec("flask") is None:
        raise SettingError(
            "The stand-in for S3 (moto's server) is not installed here.",
            "`make demo ARGS=--offline` brings it along; without --offline the demo does not need it.",
        )


class Road:
    """A way of TCP to a port of this machine. While it is cut whoever comes is turned away, and who is on it thrown off."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.is_open = False
        self._on_it: set[socket.socket] = set()
        self._lock = threading.Lock()
        road = self

        class Traveller(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                road._carry(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Traveller)
        self.port = int(self._server.server_address[1])

    @contextmanager
    def built(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="road", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.cut()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def open(self) -> None:
        self.is_open = True

    def cut(self) -> None:
        self.is_open = False
        with self._lock:
            for end in self._on_it:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _carry(self, near: socket.socket) -> None:
        if not self.is_open:
            return
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            with self._lock:
                self._on_it |= {near, far}
            back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
            back.start()
            self._pass_on(near, far)
            back.join()
            with self._lock:
                self._on_it -= {near, far}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while self.is_open and (data := source.recv(_BLOCK)):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True)
class Offline:
    """The story: cut off, open again, compared. ``said`` is how it stands, for the screen."""

    road: Road
    settings: Mapping[str, Any]
    child: subprocess.Popen[bytes]
    said: str = ""
    passes_failed: int = 0
    backlog_objects: int = 0
    backlog_bytes: int = 0
    copied_objects: int = 0
    copied_bytes: int = 0
    left: int = 0
    compared: audit.Audited | None = None
    proof: str = ""
    _since: float = field(default_factory=time.monotonic)

    @property
    def environment(self) -> dict[str, str]:
        """What children need to know of it; keys none of them does."""
        return {f"APPLIANCE_{name.upper()}": str(self.settings[name]) for name in ("s3_bucket", "s3_endpoint")}

    @property
    def is_exact(self) -> bool:
        return self.compared is not None and not self.compared.differences and not self.left

    def begin(self, box: Box) -> None:
        """The stand-in forgets with its process: what an earlier demo copied is to be copied anew."""
        outbox.again(box, date.min, date.max)
        self._since = time.monotonic()

    def copy(self, box: Box) -> None:
        """One pass, which fails while the road is cut."""
        try:
            done = outbox.once(box, flush=True, now=True)
        except BucketTrouble as trouble:
            self.passes_failed += 1
            seen = self._standing(box)
            self.backlog_objects = max(self.backlog_objects, seen.waiting)
            self.backlog_bytes = max(self.backlog_bytes, seen.waiting_bytes)
            waits = f"{seen.waiting:,} objects with {seen.waiting_bytes:,} bytes wait, nothing is lost"
            self.said = f"S3: cut off for {time.monotonic() - self._since:.0f} s; {waits}. {trouble.message}"
            return
        self.copied_objects += done.sent
        self.copied_bytes += done.bytes
        self.left = done.left
        if not self.road.is_open:
            self.said = "S3: cut off; nothing waits yet."
        else:
            copied = f"{self.copied_objects:,} objects with {self.copied_bytes:,} bytes are copied and confirmed"
            self.said = f"S3: reached; {copied}, {self.left:,} wait. {self.proof}".rstrip()

    def come_back(self, box: Box) -> None:
        """Open the road, copy what waits, and prove it."""
        self.road.open()
        self.copy(box)
        self.compared = audit.run(box, read=True)
        self.proof = f"Read back and compared with the ledger: {self.compared.sentence()}"
        self.said += f" {self.proof}"

    def keep(self, box: Box, stop: threading.Event, tell: Callable[[str], None]) -> None:
        """All of it beside the table: a minute cut off, then back; from then on copied as it comes."""
        while not stop.is_set():
            try:
                if self.compared is not None or time.monotonic() - self._since < SECONDS_CUT:
                    self.copy(box)
                else:
                    self.come_back(box)
                    tell(self.said)
            except ApplianceError as error:
                self.said = f"S3: {error}"
            stop.wait(SECONDS_BETWEEN_PASSES)

    def result(self) -> dict[str, int]:
        """The figures of a bounded run."""
        differences = len(self.compared.differences) if self.compared is not None else 0
        return {
            "copies_failed": self.passes_failed,
            "backlog_objects": self.backlog_objects,
            "backlog_bytes": self.backlog_bytes,
            "copied_objects": self.copied_objects,
            "copied_bytes": self.copied_bytes,
            "left_to_copy": self.left,
            "objects_compared": self.compared.objects if self.compared is not None else 0,
            "differences": differences,
        }

    @staticmethod
    def _standing(box: Box) -> Standing:
        with engine.transaction(box.engine) as connection:
            return store.standing(connection)


def start(stack: ExitStack, folder: Path, tell: Callable[[str], None]) -> Offline:
    """The stand-in with an empty bucket, and the road to it, cut. Both end with ``stack``."""
    tell("Starting a stand-in for S3 (moto) behind a network that is cut off ...")
    port = ports.choose(0)
    log = stack.enter_context((folder / "s3.log").open("ab"))
    command = ["-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    child = stack.enter_context(children.python(command, os.environ, log, children.KILL))
    bucket = f"demo-{secrets.token_hex(4)}"
    _make(f"http://127.0.0.1:{port}/{bucket}", child, folder / "s3.log")
    road = Road(port)
    stack.enter_context(road.built())
    stack.enter_context(_straight())
    settings = {
        "s3_bucket": bucket,
        "s3_endpoint": f"http://127.0.0.1:{road.port}",
        "s3_keys": _KEYS,
        "s3_region": "us-east-1",
        "s3_prefix": "",
        "s3_kms_key": None,
        "s3_ca_file": None,
        "s3_hours": None,
        "s3_kib_per_second": None,
        "s3_inbox": False,
    }
    return Offline(road, settings, child)


def _make(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=10) as http:
        while child.poll() is None and time.monotonic() < until:
            with suppress(httpx.TransportError):
                if http.put(url).is_success:
                    return
            time.sleep(0.1)
    raise ApplianceError("The stand-in for S3 did not start.", f"Its log is {log}.")


@contextmanager
def _straight() -> Iterator[None]:
    """This machine's own addresses are not asked of the plant's proxy."""
    before = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    for name, value in before.items():
        os.environ[name] = f"{value},127.0.0.1" if value else "127.0.0.1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
