"""Who is asking, and may they: bearer tokens, roles by rank, and a limit on guessing."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from appliance.api.query import refuse_unknown
from appliance.errors import Forbidden, TooManyRequests, Unauthorized
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

_scheme = HTTPBearer(auto_error=False, description="A token from `appliance token create`.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever holds the token. ``source`` is what their predictions count as; nobody states it in a request."""

    id: int
    name: str
    role: Role
    source: Source
    expires_at: datetime | None

    def outranks(self, role: Role) -> bool:
        """True with that role or a higher one."""
        return _RANK[self.role] >= _RANK[role]


class Guesses:
    """Wrong tokens of the last minute, by address."""

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
    """A dependency: the principal, who must have at least this role. Refuses unknown query parameters after that."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)]
    ) -> Principal:
        if credentials is None:
            raise Unauthorized("A token is needed.", "Send the header Authorization: Bearer TOKEN.")
        gate: Gate = request.app.state.api.gate
        token = credentials.credentials
        principal = gate.remembered(token)
        if principal is None:
            principal = await run_in_threadpool(gate.look_up, token, _address(request))
        request.state.who = principal.name
        if not principal.outranks(self.role):
            raise Forbidden(f"This needs the role {self.role}; the token has the role {principal.role}.", _ASK)
        refuse_unknown(request)
        return principal


_ASK = "Ask an admin of this appliance for a token with that role."

Viewer = Annotated[Principal, Depends(Needs("viewer"))]
Operator = Annotated[Principal, Depends(Needs("operator"))]
Engineer = Annotated[Principal, Depends(Needs("engineer"))]
Admin = Annotated[Principal, Depends(Needs("admin"))]


def _address(request: Request) -> str:
    """Whom wrong tokens are counted for. Forwarded addresses are not asked: anyone can write one."""
    if request.client is None:
        return "local"
    host = request.client.host
    # A host owns 2**64 IPv6 addresses, so they count together.
    return ":".join(host.split(":")[:4]) if host.count(":") > 4 else host


def _expired(principal: Principal) -> bool:
    return principal.expires_at is not None and principal.expires_at <= datetime.now(UTC)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
