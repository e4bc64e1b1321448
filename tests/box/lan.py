"""A person's machine on the network of a box: asks it over https under its names, and trusts the box's own authority alone."""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPSConnection
from urllib.parse import urlencode

# A plant's name server would know these; here whoever asks knows the address. The first is the one of links.
NAME, OTHER = "box.test", "other.test"
AUTHORITY = "/box-ca.crt"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Lan:
    """Asks the box at ``address``. ``authority`` is the certificate that is trusted, as PEM; without one nobody is asked
    who they are."""

    def __init__(self, address: str, authority: str = "") -> None:
        self.address = address
        self._trust = ssl.create_default_context(cadata=authority or None)
        if not authority:
            self._trust.check_hostname = False
            self._trust.verify_mode = ssl.CERT_NONE

    def ask(
        self,
        path: str,
        *,
        name: str = NAME,
        plain: bool = False,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask as a browser does that was given ``name``; with a ``form`` one of the box's own pages is sent."""
        connection = (_Plain if plain else _Secure)(name, timeout=_SECONDS)
        connection.address, connection.trust = self.address, self._trust
        sent = {"Accept": "text/html", **(headers or {})}
        if form is not None:
            sent = {"Origin": f"https://{name}", "Content-Type": "application/x-www-form-urlencoded", **sent}
        try:
            connection.request("GET" if form is None else "POST", path, urlencode(form) if form else None, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def upgrade(self, path: str, origin: str, cookie: str = "") -> int:
        """The status by which a websocket is opened (101), or refused."""
        said = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": origin}
        said |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        return self.ask(path, headers=said | ({"Cookie": cookie} if cookie else {})).status


class _Plain(HTTPConnection):
    address: str
    trust: ssl.SSLContext

    def connect(self) -> None:
        self.sock = socket.create_connection((self.address, self.port), _SECONDS)


class _Secure(HTTPSConnection):
    address: str
    trust: ssl.SSLContext

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.port), _SECONDS)
        self.sock = self.trust.wrap_socket(plain, server_hostname=self.host)


def met(address: str, name: str = NAME) -> Lan:
    """A machine that took the box's authority from the box itself, as whoever compares its fingerprint does."""
    return Lan(address, Lan(address).ask(AUTHORITY, name=name).text)


def fingerprint(authority: str) -> str:
    """As ``openssl x509 -fingerprint -sha256`` writes it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
