"""The screens as a service of systemd: ``python -m appliance.screens_watched URL COMMAND...`` runs the command, and looks at URL.

Streamlit knows nothing of systemd. Its own answer of health comes from the loop that serves every browser, so who hangs
there gives none. Nothing but the standard library is loaded: this process stays as long as the screens do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from appliance import watched

_SECONDS = 5.0
_NOBODY = "The screens do not answer."


def look(url: str) -> str | None:
    """What is wrong with the screens that should answer at ``url``, in one sentence; None where they do."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=_SECONDS)
    try:
        connection.request("GET", where.path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return _NOBODY
    finally:
        connection.close()
    return None if answer.status == 200 else f"The screens answer with {answer.status}."


def main(arguments: Sequence[str]) -> int:
    url, *command = arguments
    return watched.run(command, os.environ, lambda: look(url))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
