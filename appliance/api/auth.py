"""Who is asking, and may they: tokens of programs, sessions of people, roles by rank, and a limit on guessing."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Annotated, Literal

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from appliance.api import origin
from appliance.api.query import refuse_unknown
from appliance.errors import Forbidden, RequestError, TooManyRequests, Unauthorized
from appliance.store.rows import Role, Source

# Each may what those before it may.
_RANK: dict[Role, int] = {"viewer": 0, "operator": 1, "engineer": 2, "admin": 3}

# How long a token is believed without another look into the database; a revoked one is refused within this time.
_BELIEVED_SECONDS = 5.0
_MINUTE = 60.0
# Bounds on memory: neither many tokens nor many addresses may make the process grow.
_MOST_TOKENS = 1_000
_MOST_ADDRESSES = 10_000
_LONGEST_TOKEN = 512

# All ports of a host share it, so that screens on another port are served by the same session.
COOKIE = "appliance_session"

_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description=f"Of a person who signed in at /sign-in. What changes something needs the page's own `Origin`, or the header"
    f" `{origin.OWN_HEADER}: 1` of a program.",
)
_scheme = HTTPBearer(auto_error=False, description="A token from `appliance token create`.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a program with a token, or a person (or station) with a session.

    ``source`` is what their predictions count as; nobody states it in a request. ``person``: who says to stand before the
    station.
    """

    id: int
    name: str
    role: Role
    source: Source
    expires_at: datetime | None
    kind: Literal["token", "user"] = "token"
    station: bool = False
    person: str = ""

    def outranks(self, role: Role) -> bool:
        """True with that role or a higher one."""
        return _RANK[self.role] >= _RANK[role]

    @property
    def noted(self) -> str:
        """Who did it, for ledgers: what a station is told is beside its own name, never in its place."""
        return f"{self.name}: {self.person}" if self.person else self.name

    @property
    def owner(self) -> str:
        """Whose idempotency keys these are. A token and a user of one name are two, and so is who gets a name anew."""
        return f"token:{self.name}" if self.kind == "token" else f"user:{self.id}"


class Guesses:
    """What was wrong in the last minute, by address."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def wrong(self, address: str) -> int:
        """Count one; the seconds to wait where it was one too many, else 0."""
        now = self._clock()
        with self._lock:
            times = self._wrong.setdefault(address, deque(maxlen=self._per_minute + 1))
            self._wrong.move_to_end(address)
            while len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)
            while times and times[0] <= now - _MINUTE:
                times.popleft()
            if len(times) >= self._per_minute:
                return max(1, math.ceil(times[0] + _MINUTE - now))
            times.append(now)
            return 0

    def right(self, address: str) -> None:
        """Take back the last one that was counted: it was none."""
        with self._lock:
            if times := self._wrong.get(address):
                times.pop()


class Gate:
    """Tokens to principals. ``find`` asks the store, and is asked again only after a few seconds."""

    def __init__(
        self,
        find: Callable[[str], Principal | None],
        guesses_per_minute: int,
        on_refusal: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._guesses = Guesses(guesses_per_minute, clock)
        self._on_refusal = on_refusal
        self._clock = clock
        # Keyed by a digest, so that tokens in plain text are not kept in memory for longer than their request.
        self._believed: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._lock = Lock()

    def remembered(self, token: str) -> Principal | None:
        """The principal of a token that was right a moment ago. Costs no query."""
        with self._lock:
            until, principal = self._believed.get(_digest(token), (0.0, None))
        if principal is None or self._clock() >= until or _expired(principal):
            return None
        return principal

    def look_up(self, token: str, address: str) -> Principal:
        """The principal of a token; Unauthorized for a wrong one, TooManyRequests for one too many.

        A right token always passes: an address that somebody guesses from must not lock out who works there.
        """
        principal = self._find(token) if 0 < len(token) <= _LONGEST_TOKEN and token.isascii() else None
        if principal is None or _expired(principal):
            raise self.refused(address)
        with self._lock:
            key = _digest(token)
            self._believed[key] = (self._clock() + _BELIEVED_SECONDS, principal)
            self._believed.move_to_end(key)
            while len(self._believed) > _MOST_TOKENS:
                self._believed.popitem(last=False)
        return principal

    def refused(self, address: str) -> Unauthorized | TooManyRequests:
        self._on_refusal()
        wait = self._guesses.wrong(address)
        if wait:
            return TooManyRequests(
                "Too many wrong tokens came from this address.", f"Try again in {wait} s.", retry_after=wait
            )
        return Unauthorized("The token is not valid.", "Ask for a new one: `appliance token create`.")


class Needs:
    """A dependency: the principal, who must have at least this role. Refuses unknown query parameters after that.

    A token counts before a cookie: who sends one means it.
    """

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)],
        cookie: Annotated[str | None, Depends(_cookie)],
    ) -> Principal:
        if credentials is not None:
            principal = await _by_token(request, credentials.credentials)
        else:
            principal = await _by_session(request, cookie)
        request.state.who = principal.name
        if not principal.outranks(self.role):
            what = "the token has" if principal.kind == "token" else f"{principal.name} has"
            raise Forbidden(f"This needs the role {self.role}; {what} the role {principal.role}.", _ASK)
        refuse_unknown(request)
        return _with_person(request, principal)


async def _by_token(request: Request, token: str) -> Principal:
    gate: Gate = request.app.state.api.gate
    principal = gate.remembered(token)
    if principal is None:
        principal = await run_in_threadpool(gate.look_up, token, origin.address(request))
    return principal


async def _by_session(request: Request, cookie: str | None) -> Principal:
    if cookie is None:
        raise Unauthorized("Nobody is signed in.", "Sign in at /sign-in; a program sends Authorization: Bearer TOKEN.")
    api = request.app.state.api
    # Looked up each time: whoever signs out, or is disabled, is out with the next request.
    principal: Principal | None = await run_in_threadpool(api.session, cookie)
    if principal is None:
        raise Unauthorized("The session is over.", "Sign in again at /sign-in.")
    origin.demand_own(request, api.settings)
    return principal


def _with_person(request: Request, principal: Principal) -> Principal:
    person = origin.person(request)
    if person and not principal.station:
        raise RequestError(
            f"Only a station says who stands before it, and {principal.name} is none.",
            f"Leave the header {origin.PERSON_HEADER} out.",
        )
    return replace(principal, person=person) if person else principal


_ASK = "Ask an administrator of this appliance for that role."

Viewer = Annotated[Principal, Depends(Needs("viewer"))]
Operator = Annotated[Principal, Depends(Needs("operator"))]
Engineer = Annotated[Principal, Depends(Needs("engineer"))]
Admin = Annotated[Principal, Depends(Needs("admin"))]


def _expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
