"""Addresses of machines, alarms, predictions and files that can be sent, printed and scanned."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import segno
import streamlit as st

from ui import session
from ui.pages import ENTRIES, FIRST, page

_PATHS = frozenset(entry.path for entry in ENTRIES)


def deep(name: str, **query: Any) -> str:
    """The whole address of a page: ``deep("machine", profile="milling", machine="mill-1")``."""
    path = "" if name == FIRST else next(entry.path for entry in ENTRIES if entry.name == name)
    given = urlencode({key: value for key, value in query.items() if value is not None})
    return f"{base()}/{path}{'?' if given else ''}{given}"


def this() -> str:
    """The address of the page that is being shown, with its question."""
    seen = urlsplit(st.context.url or "")
    last = seen.path.strip("/").rpartition("/")[2]
    given = urlencode(sorted(st.query_params.to_dict().items()))
    return f"{base()}/{last if last in _PATHS else ''}{'?' if given else ''}{given}"


def sign_in() -> str:
    """The API's page for signing in, which leads back here."""
    return f"{session.api_url()}/sign-in?next={quote(this(), safe='')}"


def base() -> str:
    """Where the screens are: as the owner says, else as this browser found them."""
    box = session.settings()
    if box.ui_url:
        return box.ui_url.rstrip("/")
    seen = urlsplit(st.context.url or "")
    if not seen.netloc:
        return box.screens_url
    steps = seen.path.strip("/").split("/")
    kept = "/".join(steps[:-1] if steps[-1] in _PATHS else steps).strip("/")
    return urlunsplit((seen.scheme, seen.netloc, kept, "", "")).rstrip("/")


def link(name: str, label: str, *, icon: str | None = None, help: str | None = None, **query: Any) -> None:  # noqa: A002
    """A link to one of our pages, within this window."""
    given = {key: str(value) for key, value in query.items() if value is not None}
    st.page_link(page(name), label=label, icon=icon, help=help, query_params=given or None)


@lru_cache(maxsize=64)
def qr(address: str) -> str:
    """A QR code as SVG, black on white whatever the theme: phones read no other."""
    made: str = segno.make(address, error="m", micro=False).svg_inline(scale=4, border=4, dark="#000", light="#fff")
    return made
