"""Targets on this machine: a webhook and a mail server that behave as they are told."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """What it got, in order. ``mood``: ``ok``, a status such as ``500``, ``close``, ``hang``, ``drip`` or ``slow``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.mood = "ok"
        self.got: list[dict[str, Any]] = []
        self.tries = 0
        self.released = threading.Event()

    def url(self, path: str = "/hook/s3cr3t-path") -> str:
        return f"json://127.0.0.1:{self.port}{path}"

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.got]


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            hook.tries += 1
            match hook.mood:
                case "close":
                    # With a reset instead of a proper end.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                    return
                case "hang":
                    hook.released.wait(60)
                    return
                case "drip":
                    # Never silent for as long as a client waits for the next byte, and never done.
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not hook.released.wait(0.05):
                        try:
                            self.wfile.write(b"x-more: 1\r\n")
                        except OSError:
                            return
                    return
                case "slow":
                    time.sleep(0.3)
                case "ok":
                    pass
                case status:
                    self._answer(int(status))
                    return
            hook.got.append(body)
            self._answer(200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            if 300 <= status < 400:
                self.send_header("location", hook.url("/elsewhere").replace("json", "http"))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """The other end was killed: that is the test."""

    with Server(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hook
        finally:
            hook.released.set()
            server.shutdown()
            thread.join()


class Mail:
    """``refuse``: the answer to a recipient, such as ``550 no such user``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refuse = ""
        self.got: list[EmailMessage] = []

    def url(self, user: str = "") -> str:
        return f"mailto://{user}127.0.0.1:{self.port}?from=box@example.com&to=night@example.com&mode=insecure"


@contextmanager
def mail_server() -> Iterator[Mail]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 ready")
            while line := self.rfile.readline():
                match line.split()[:1]:
                    case [b"EHLO" | b"ehlo"]:
                        self._say("250-here\r\n250 AUTH PLAIN LOGIN")
                    case [b"AUTH"]:
                        self._say("535 5.7.8 wrong password for hunter2secret")
                    case [b"RCPT" | b"rcpt"] if mail.refuse:
                        self._say(mail.refuse)
                    case [b"DATA" | b"data"]:
                        self._say("354 go on")
                        text = b"".join(iter(self.rfile.readline, b".\r\n"))
                        found = email.message_from_bytes(text, policy=email.policy.default)
                        assert isinstance(found, EmailMessage)
                        mail.got.append(found)
                        self._say("250 taken")
                    case [b"QUIT" | b"quit"]:
                        self._say("221 bye")
                        return
                    case _:
                        self._say("250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        mail = Mail(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield mail
        finally:
            server.shutdown()
            thread.join()
