"""Where a request comes from, and where a browser may be sent to.

A browser adds the cookie to whatever any page makes it send here. SameSite keeps pages of other sites off, but not those
on another port of this host, nor, on most networks, those of its neighbours; so a request that changes something has to
show that one of our own pages sent it, or a program.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request

from appliance.errors import Forbidden, RequestError
from appliance.names import printable
from appliance.settings import Settings

# A page elsewhere cannot make a browser send this without asking us first, and we do not answer that question.
OWN_HEADER = "x-appliance-request"
PERSON_HEADER = "x-appliance-person"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_PERSON = 60
_LONGEST_TARGET = 2_000
# Printable ASCII and no backslash: browsers skip line breaks and tabs in addresses, and read a backslash as a slash.
_TARGET = re.compile(
    r"(?:(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]{1,253})(?P<port>:[0-9]{1,5})?(?=[/?#]|\Z))?(?P<path>/(?!/)[\x21-\x5b\x5d-\x7e]*)?"
)


def address(request: Request) -> str:
    """Whom wrong tokens and passwords are counted for."""
    host = request.client.host if request.client else ""
    with suppress(ValueError):
        host = str(ip_address(_by_proxy(request, "x-forwarded-for")))
    # A host owns 2**64 IPv6 addresses, so they count together.
    return ":".join(host.split(":")[:4]) if host.count(":") > 4 else host or "local"


def secure(request: Request, settings: Settings) -> bool:
    """Whether the browser reached us by https: a cookie may then be kept off plain http."""
    if request.url.scheme == "https" or _by_proxy(request, "x-forwarded-proto") == "https":
        return True
    return (settings.public_url or "").startswith("https://")


def demand_own(request: Request, settings: Settings) -> None:
    """Forbidden for a request that changes something, and does not show that a page of ours or a program sent it."""
    if request.method in _SAFE_METHODS:
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None:
        own = origin.lower() in _own_origins(request, settings) and site in (None, "same-origin")
    elif site is not None:
        own = site == "same-origin"
    else:
        own = OWN_HEADER in request.headers
    if not own:
        person = "text/html" in request.headers.get("accept", "")
        raise Forbidden(
            "This does not come from a page of this appliance.",
            "Open the page anew and try again." if person else f"Send the header {OWN_HEADER}: 1 beside the cookie.",
        )


def landing(request: Request, settings: Settings, wanted: str | None) -> str | None:
    """Where a browser may be sent after signing in: a path of ours, or a page on another port of this host; else None."""
    found = _TARGET.fullmatch(wanted or "")
    if not wanted or found is None or len(wanted) > _LONGEST_TARGET:
        return None
    if found["scheme"] is None:
        return wanted
    if found["host"].lower() != _host(request).partition(":")[0]:
        return None
    return wanted if found["scheme"] == "https" or not secure(request, settings) else None


def elsewhere(target: str) -> str:
    """The origin of what :func:`landing` gave, for a policy that has to allow it; '' for a path of ours."""
    found = _TARGET.fullmatch(target)
    return f"{found['scheme']}://{found['host']}{found['port'] or ''}" if found and found["scheme"] else ""


def back_here(request: Request) -> str:
    """The query of the sign-in page that leads back to what was asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    target = quote(request.scope["path"], safe="/") + query
    return f"?next={quote(target, safe='/')}" if len(target) <= _LONGEST_TARGET else ""


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks, for something to look at."""
    headers = request.headers
    return (
        request.method == "GET"
        and "authorization" not in headers
        and "text/html" in headers.get("accept", "")
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
    )


def person(request: Request) -> str:
    """Who says to stand before a station: percent-encoded UTF-8 in a header, since names are more than ASCII."""
    given = request.headers.get(PERSON_HEADER)
    if given is None:
        return ""
    try:
        name = " ".join(unquote_to_bytes(given.encode("latin-1")).decode("utf-8").split())
    except UnicodeDecodeError:
        name = ""
    if not name or len(name) > _LONGEST_PERSON or printable(name) != name:
        raise RequestError(
            f"The header {PERSON_HEADER} holds no name.",
            f"Send up to {_LONGEST_PERSON} printable characters as percent-encoded UTF-8, such as J%C3%BCrgen.",
        )
    return name


def _by_proxy(request: Request, header: str) -> str:
    """What a proxy in front of us says, the last one where several do.

    Anyone can write such a header. It is believed over the unix socket and from this host alone: who is here already
    does not need to lie about it.
    """
    if request.client is not None and request.client.host not in ("127.0.0.1", "::1", ""):
        return ""
    return request.headers.get(header, "").rpartition(",")[2].strip()


def _own_origins(request: Request, settings: Settings) -> set[str]:
    schemes = ("https",) if secure(request, settings) else ("https", "http")
    own = {_origin(scheme, _host(request)) for scheme in schemes}
    if settings.public_url:
        scheme, _, rest = settings.public_url.lower().partition("://")
        own.add(_origin(scheme, rest.partition("/")[0]))
    return own


def _origin(scheme: str, host: str) -> str:
    return f"{scheme}://{host.removesuffix({'http': ':80', 'https': ':443'}.get(scheme, ''))}"


def _host(request: Request) -> str:
    return request.headers.get("host", "").lower()
