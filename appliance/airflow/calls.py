"""Calls of this box's own api-server, with nothing but the standard library: who makes them is kept small."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

# A proxy that the environment names is for the internet, not for the box itself.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Away(Exception):
    """Nobody answers there, or somebody who is no api-server."""


def call(url: str, seconds: float, body: Mapping[str, Any] | None = None, bearer: str = "") -> tuple[int, Any]:
    """GET, or POST of a JSON object: the status and the object that came back."""
    headers = {"accept": "application/json", "content-type": "application/json"}
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the scheme is ours
    try:
        with _opener.open(request, timeout=seconds) as answer:
            return int(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
    except (OSError, HTTPException, ValueError) as error:
        raise Away from error
