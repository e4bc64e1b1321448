"""Whether a server on this box answers, for who watches it. Nothing but the standard library: watchers stay small."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

_SECONDS = 5.0


def status(url: str) -> int | None:
    """The status of what is at ``url``; None where nobody answers."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=_SECONDS)
    try:
        connection.request("GET", where.path or "/")
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return answer.status
