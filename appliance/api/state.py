"""What the handlers of one app share."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from appliance import checks, heap
from appliance.ahead import Ahead
from appliance.api.auth import Gate, Principal
from appliance.api.door import Door
from appliance.api.metrics import Metrics
from appliance.checks import Context, Fault
from appliance.errors import ApplianceError
from appliance.predict import store_ids
from appliance.serving import Models
from appliance.settings import Settings
from appliance.store import engine as store
from appliance.store import principals, sessions
from appliance.store.engine import Connection, Engine

log = logging.getLogger(__name__)

# Nobody has to show a token to ask whether the box is ready, so asking often must cost nothing.
_HEALTH_SECONDS = 2.0
# A large body is held in memory several times over while it is read, checked and answered.
_LARGE_AT_A_TIME = 2
# An explanation is computing and nothing else: more at once would only keep predictions waiting.
_EXPLAINED_AT_A_TIME = 1


@dataclass(slots=True)
class Api:
    """``transaction`` is the one place where the API commits: one of them a request."""

    settings: Settings
    engine: Engine
    models: Models
    metrics: Metrics = field(default_factory=Metrics)
    gate: Gate = field(init=False)
    door: Door = field(init=False)
    ahead: Ahead = field(default_factory=Ahead)
    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_AT_A_TIME))
    explaining: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_EXPLAINED_AT_A_TIME))
    _unknown_to_store: set[str] = field(default_factory=set)
    _faults: tuple[float, list[Fault]] | None = None
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate = Gate(self._find, self.settings.api_guesses_per_minute, self.metrics.refused_token)
        self.door = Door(self.settings, self.transaction, self.metrics.refused_password)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with store.transaction(self.engine) as connection:
            yield connection

    def refresh(self) -> None:
        """Take up what was activated since the last look, and tell the store. Runs every second; raises nothing."""
        self.ahead.forget()
        try:
            changed = self.models.refresh()
        except (ApplianceError, OSError) as error:
            log.warning("models cannot be looked at: %s", error)
            return
        if changed:
            versions = {served.profile.name: served.version for served in self.models.all()}
            self.metrics.serving(versions)
            self._unknown_to_store.update(changed)
            for name in changed:
                log.info("%s is served by %s", name, versions[name])
            heap.give_back()
        if self._unknown_to_store:
            self._tell_store()

    def _tell_store(self) -> None:
        """Rows of profile and model, so that screens can name what serves before the first prediction."""
        try:
            with self.transaction() as connection:
                for served in self.models.all():
                    store_ids(connection, served)
            self._unknown_to_store.clear()
        except ApplianceError as error:
            log.debug("the store does not know the models yet: %s", error)
        except Exception:
            # Tables that are not there yet; the check of the migrations says so.
            log.debug("the store does not know the models yet", exc_info=True)

    def faults(self) -> list[Fault]:
        """What is wrong with the box, as of at most a few seconds ago."""
        known = self._faults
        if known is not None and time.monotonic() - known[0] < _HEALTH_SECONDS:
            return known[1]
        # One looks; the others take what was known, rather than queue up for a database that does not answer.
        if not self._looking.acquire(blocking=known is None) and known is not None:
            return known[1]
        try:
            if self._faults is None or time.monotonic() - self._faults[0] >= _HEALTH_SECONDS:
                context = Context(self.settings, self.engine, self.models, datetime.now(UTC))
                self._faults = (time.monotonic(), checks.run(context))
            return self._faults[1]
        finally:
            self._looking.release()

    def session(self, plain: str) -> Principal | None:
        """Who is signed in with that cookie; their predictions are those of a screen."""
        if len(plain) != sessions.LENGTH or not plain.isascii():
            return None
        with self.transaction() as connection:
            found = sessions.find(connection, plain, self.door.idle)
        if found is None:
            return None
        user = found.user
        return Principal(user.id, user.name, user.role, "webapp", found.expires_at, "user", user.station)

    def _find(self, token: str) -> Principal | None:
        with self.transaction() as connection:
            found = principals.find_token(connection, token)
        if found is None:
            return None
        return Principal(found.id, found.name, found.role, found.source, found.expires_at)


# Async, as all that each request depends on and that waits for nothing: else it goes by a thread and back.
async def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


State = Annotated[Api, Depends(_api)]
