"""Who sits before this browser: their session with the API, and who says to stand before a station."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import streamlit as st

from appliance import settings as box_settings
from appliance.client import SESSION_COOKIE, Client
from appliance.errors import StoreAway, Unauthorized
from appliance.settings import Settings
from ui.texts import t

Role = Literal["viewer", "operator", "engineer", "admin"]
_RANKS: tuple[Role, ...] = ("viewer", "operator", "engineer", "admin")

# Who tapped a name at a shared tablet and did nothing for so long has gone away.
PERSON_SECONDS = 15 * 60
_CLIENT, _PERSON = "_client", "_person"


@dataclass(frozen=True)
class Here:
    """What every page is given. ``api`` speaks with the rights of who is signed in; the API decides, pages only hide."""

    api: Client
    who: dict[str, Any]
    zone: ZoneInfo
    site: str
    api_url: str  # where this browser reaches the API's own pages
    person: str = ""
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    def may(self, role: Role) -> bool:
        return _RANKS.index(self.who["role"]) >= _RANKS.index(role)

    @property
    def name(self) -> str:
        """As ledgers note it."""
        return f"{self.who['name']}: {self.person}" if self.person else str(self.who["name"])

    @property
    def must_tap(self) -> bool:
        """A station before which nobody said who they are."""
        return bool(self.who["station"]) and not self.person

    def profiles(self) -> list[dict[str, Any]]:
        """The profiles that are served, in short; asked for once a run."""
        if "profiles" not in self._known:
            self._known["profiles"] = self.api.profiles()
        found: list[dict[str, Any]] = self._known["profiles"]
        return found

    def profile(self, name: str) -> dict[str, Any]:
        """A whole profile; asked for once a run. NotReady where it is not served any more."""
        known: dict[str, dict[str, Any]] = self._known.setdefault("profile", {})
        if name not in known:
            known[name] = self.api.profile(name)
        return known[name]


@cache
def settings() -> Settings:
    return box_settings.load()


def cookie() -> str | None:
    """The session that the browser holds. The seam for tests: a test browser brings no cookies."""
    return st.context.cookies.get(SESSION_COOKIE)


def here() -> Here:
    """Unauthorized where nobody is signed in; ApiAway."""
    held = cookie()
    if not held:
        raise Unauthorized(t("frame.signed_out"))
    box = settings()
    client = _client(box, held, person())
    who = client.whoami()
    name = "" if box.site == Settings.model_fields["site"].default else box.site
    return Here(client, who, zone(), name, api_url(), person() if who["station"] else "")


def zone() -> ZoneInfo:
    return ZoneInfo(settings().timezone)


def ping(*, ready: bool = False) -> None:
    """ApiAway as long as the API does not answer; with ``ready`` also StoreAway as long as nothing can be stored."""
    known = _client(settings(), cookie() or "", person()).health()
    if ready and not known["ready"]:
        raise StoreAway(t("frame.not_ready"))


def sign_out(here: Here) -> None:
    here.api.sign_out()
    for key in (_CLIENT, _PERSON):
        st.session_state.pop(key, None)


def person() -> str:
    """Who tapped their name, as long as they are likely to stand there."""
    name, since = st.session_state.get(_PERSON, ("", 0.0))
    return name if time.monotonic() - since < PERSON_SECONDS else ""


def stand(name: str) -> None:
    """Somebody stands before this station; '' goes away."""
    st.session_state[_PERSON] = (name, time.monotonic())


def stay() -> None:
    """Somebody did something, so whoever stood here still does."""
    if name := person():
        stand(name)


def api_url() -> str:
    """Where this browser finds the API's pages: under its own host name, or the session would not be the same."""
    box = settings()
    url, seen = urlsplit(box.base_url), urlsplit(st.context.url or "")
    if box.public_url or not seen.hostname:
        return box.reachable_url
    if url.hostname not in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return box.reachable_url
    host = f"[{seen.hostname}]" if ":" in seen.hostname else seen.hostname
    return f"{url.scheme}://{host}:{url.port}" if url.port else f"{url.scheme}://{host}"


def _client(box: Settings, held: str, person: str) -> Client:
    """One connection pool a browser."""
    address = box.base_url if box.api_url or not box.api_socket else box.api_socket
    key = (str(address), held, person)
    known: tuple[tuple[str, str, str], Client] | None = st.session_state.get(_CLIENT)
    if known is not None and known[0] == key:
        return known[1]
    client = Client(address, session=held, person=person)
    st.session_state[_CLIENT] = (key, client)
    return client
