"""From a password, or a link that works once, to a session: slow for who guesses, and the same for every name.

Three limits, each for another kind of guesser: tries a minute from one address, tries in a row for one name (with a
growing pause), and one look at a password at a time, whoever asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from fastapi.concurrency import run_in_threadpool

from appliance import passwords
from appliance.api.auth import Guesses, Principal
from appliance.errors import ApplianceError, RequestError, StoreAway, TooManyRequests, Unauthorized
from appliance.settings import Settings
from appliance.store import journal, sessions, users
from appliance.store.engine import Connection
from appliance.store.users import Try, User

log = logging.getLogger(__name__)

# A refusal takes as long as this, whatever it was that was wrong: how long it took then tells nothing.
_REFUSAL_SECONDS = 0.4
# Who would be further back in the queue is asked to come again.
_MOST_WAITING = 20
_MOST_STRANGERS = 10_000
_HOUR = 3600.0
_EVENTS_AN_HOUR = 20


@dataclass(frozen=True, slots=True)
class SignedIn:
    """``cookie`` is what the browser is to hold, for ``lifetime`` at most."""

    user: User
    cookie: str
    lifetime: timedelta


class Door:
    """``transaction`` opens one; ``on_refusal`` is told of each refused try."""

    def __init__(
        self,
        settings: Settings,
        transaction: Callable[[], AbstractContextManager[Connection]],
        on_refusal: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.idle = timedelta(hours=settings.session_idle_hours)
        self._settings = settings
        self._transaction = transaction
        self._on_refusal = on_refusal
        self._clock = clock
        self._guesses = Guesses(settings.api_guesses_per_minute, clock)
        self._strangers = Strangers(clock)
        self._told: OrderedDict[str, float] = OrderedDict()
        self._one_at_a_time = asyncio.Semaphore(1)
        self._waiting = 0

    async def sign_in(self, name: str, password: str, address: str, before: str | None = None) -> SignedIn:
        """A new session, in the place of the one that the browser had ``before``. Unauthorized, TooManyRequests."""
        tried = await self._right(name, password, address)
        kept = tried.password_hash or ""
        renewed = await self._work(passwords.hashed, password) if passwords.outdated(kept) else None

        def start() -> SignedIn | None:
            with self._transaction() as connection:
                if not users.passed(connection, tried, renewed):
                    return None
                if before:
                    sessions.end(connection, before)
                return self._started(connection, tried.user)

        signed = await run_in_threadpool(start)
        if signed is None:
            raise _wrong()
        log.info("%s signed in from %s", signed.user.name, address)
        return signed

    async def choose_password(self, link: str, password: str, again: str) -> SignedIn:
        """Use a link to choose a password; RequestError leaves the link as it was. NotFound for one that does not work."""
        user = await run_in_threadpool(self.welcomed, link)
        self._demand_fit(user.name, password, again)
        kept = await self._work(passwords.hashed, password)

        def start() -> SignedIn:
            with self._transaction() as connection:
                used = sessions.use_link(connection, link, "welcome")
                users.set_password(connection, used, kept)
                return self._arrived(connection, used)

        return await run_in_threadpool(start)

    async def change_password(self, who: Principal, current: str, password: str, again: str, address: str) -> SignedIn:
        """Another password for who knows the present one; all sessions end, and a new one starts."""
        self._demand_fit(who.name, password, again)
        tried = await self._right(who.name, current, address)
        kept = await self._work(passwords.hashed, password)

        def start() -> SignedIn | None:
            with self._transaction() as connection:
                if not users.passed(connection, tried):
                    return None
                users.set_password(connection, tried.user, kept)
                return self._started(connection, tried.user)

        return await run_in_threadpool(start) or _refuse(_wrong())

    def welcomed(self, link: str) -> User:
        """Whose link that is; NotFound where it does not work, or no longer."""
        with self._transaction() as connection:
            user = sessions.look_at_link(connection, link, "welcome")
        return user or _refuse(sessions.link_is_over())

    def enter(self, link: str) -> SignedIn:
        """Use a link that signs in without a password."""
        with self._transaction() as connection:
            return self._arrived(connection, sessions.use_link(connection, link, "enter"))

    def _arrived(self, connection: Connection, user: User) -> SignedIn:
        if not users.arrived(connection, user):
            raise sessions.link_is_over()
        return self._started(connection, user)

    def _started(self, connection: Connection, user: User) -> SignedIn:
        lifetime = timedelta(days=self._settings.station_days if user.station else self._settings.session_days)
        sessions.forget(connection, self.idle)
        return SignedIn(user, sessions.start(connection, user, lifetime), lifetime)

    def _demand_fit(self, name: str, password: str, again: str) -> None:
        fault = passwords.fault(password, (name, self._settings.site))
        if fault is not None:
            raise RequestError(fault)
        if password != again:
            raise RequestError("The two passwords differ: type the same one twice.")

    async def _right(self, name: str, password: str, address: str) -> Try:
        """The try whose password was right; whoever is refused is told so after the same time."""
        began = time.monotonic()
        try:
            return await self._looked_at(name, password, address)
        except (Unauthorized, TooManyRequests):
            self._on_refusal()
            await asyncio.sleep(max(0.0, began + _REFUSAL_SECONDS - time.monotonic()))
            raise

    async def _looked_at(self, name: str, password: str, address: str) -> Try:
        # Counted as wrong before it is looked at, so that many at once are not more than one by one.
        wait = self._guesses.wrong(address)
        if wait:
            await run_in_threadpool(self._tell_of_guessing, address)
            raise TooManyRequests(
                "Too many wrong passwords came from this address.", f"Try again in {wait} s.", retry_after=wait
            )
        try:
            tried = await run_in_threadpool(self._begin, name)
            tries, wait = (tried.tries, tried.wait) if tried else self._strangers.begin(name)
            if wait:
                raise _locked(wait)
            right = await self._work(passwords.fits, password, tried.password_hash if tried else None)
            if right and tried and not tried.user.disabled:
                self._guesses.right(address)
                return tried
            if tried:
                await run_in_threadpool(self._failed, tried, address)
        except StoreAway:
            self._guesses.right(address)
            raise
        wait = users.lock_seconds(tries)
        raise _locked(wait) if wait else _wrong()

    def _begin(self, name: str) -> Try | None:
        with self._transaction() as connection:
            return users.begin_try(connection, name)

    def _failed(self, tried: Try, address: str) -> None:
        with self._transaction() as connection:
            users.failed(connection, tried, address)

    def _tell_of_guessing(self, address: str) -> None:
        """An event for whoever looks into it later; a few an hour, so that guessing does not fill the table."""
        now = self._clock()
        while self._told and next(iter(self._told.values())) <= now - _HOUR:
            self._told.popitem(last=False)
        if address in self._told or len(self._told) >= _EVENTS_AN_HOUR:
            return
        self._told[address] = now
        said = f"Too many wrong passwords came from {address}."
        with self._transaction() as connection:
            journal.event(connection, "sign_in_guessing", "warning", said, {"address": address})

    async def _work(self, work: Callable[..., Any], *given: Any) -> Any:
        """Work of 32 MiB and a full core, which predictions and the whole memory must not suffer from: one at a time."""
        if self._waiting >= _MOST_WAITING:
            raise TooManyRequests("Too many sign in at this moment.", "Try again in 5 s.", retry_after=5)
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                return await run_in_threadpool(work, *given)
        finally:
            self._waiting -= 1


class Strangers:
    """Names that nobody has, counted and locked as those of users are: a lock must not tell who is one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def begin(self, name: str) -> tuple[int, int]:
        """Count a try: how many that are in a row, and the seconds to wait where none is looked at."""
        now = self._clock()
        key = hashlib.sha256(users.folded(name).encode("utf-8", "replace")).digest()
        tries, until = self._tries.get(key, (0, now))
        if until > now:
            return tries, math.ceil(until - now)
        tries += 1
        self._tries[key] = tries, now + users.lock_seconds(tries)
        self._tries.move_to_end(key)
        while len(self._tries) > _MOST_STRANGERS:
            self._tries.popitem(last=False)
        return tries, 0


def _wrong() -> Unauthorized:
    return Unauthorized("The name or the password is wrong.", "Try again, or ask an administrator for a new link.")


def _locked(wait: int) -> TooManyRequests:
    return TooManyRequests(
        "Too many wrong passwords for this name.",
        f"Try again in {wait} s, or ask an administrator for a new link.",
        retry_after=wait,
    )


def _refuse(error: ApplianceError) -> NoReturn:
    raise error
