"""A proxy in front of the store that does to requests what networks and stores do to them."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Mood = Literal[
    "ok", "500", "503", "slow", "hang", "cut", "unanswered", "corrupt", "lie", "silent", "revoked", "full", "forgets"
]
_CHECKSUM = "x-amz-checksum-sha256"
_SAID = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "revoked": (403, "InvalidAccessKeyId"),
    "full": (507, "InsufficientStorage"),
    "forgets": (404, "NoSuchUpload"),
}
_DROPPED = ("connection", "content-length", "date", "server", "transfer-encoding")


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and "partNumber=" in self.query

    @property
    def is_put(self) -> bool:
        return self.method == "PUT"


@dataclass
class Proxy:
    """``mood``: what happens to the requests that ``meant`` picks; to the others nothing does."""

    port: int = 0
    mood: Mood = "ok"
    meant: Callable[[Request], bool] = lambda request: True
    got: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.got)

    def well(self) -> None:
        self.mood, self.meant = "ok", lambda request: True
        self.got.clear()


@contextmanager
def before(store: str) -> Iterator[Proxy]:
    """A proxy in front of the store at that address."""
    target = urlsplit(store)
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            parts = urlsplit(self.path)
            request = Request(self.command, parts.path, parts.query)
            proxy.got.append(request)
            mood = proxy.mood if proxy.meant(request) else "ok"
            length = int(self.headers.get("content-length") or 0)
            if mood == "cut":
                self.rfile.read(length // 2)
                self._reset()
                return
            body = self.rfile.read(length)
            if mood in _SAID:
                self._refuse(*_SAID[mood])
                return
            if mood == "hang":
                proxy.released.wait(30)
                self._reset()
                return
            if mood == "slow":
                time.sleep(0.2)
            if mood == "corrupt" and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            self._forward(body, mood)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do

        def _forward(self, body: bytes, mood: str) -> None:
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if mood == "unanswered":
                self._reset()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() in _DROPPED or (name.lower() == _CHECKSUM and mood == "silent"):
                    continue
                self.send_header(name, "A" * 43 + "=" if name.lower() == _CHECKSUM and mood == "lie" else value)
            length = answer.getheader("content-length") if self.command == "HEAD" else str(len(data))
            self.send_header("content-length", length or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def _refuse(self, status: int, code: str) -> None:
            said = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'.encode()
            self.send_response(status)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", "0" if self.command == "HEAD" else str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        def _reset(self) -> None:
            """With a reset instead of a proper end."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """The other end was killed, or cut off: that is the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            server.shutdown()
            thread.join()
