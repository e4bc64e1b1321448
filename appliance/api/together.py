"""Small requests that come at the same time are predicted together.

While one batch is under way, what comes in queues up, and is the next batch: who comes alone waits for nobody, and of
many each pays a fraction of a frame, of a run of the model and of a commit. Those of a batch often ask again as soon as
they are answered, so that after one the event loop reads what has already come before it goes on; it waits for no clock.
Everything here happens in the event loop; the work itself is done in threads, but for a few rows that are not stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from fastapi.concurrency import run_in_threadpool

from appliance.api import bodies, plain
from appliance.api.auth import Principal
from appliance.api.state import Api
from appliance.api.submit import Answer, Asked, Result, submit, submit_together
from appliance.api.wire import Ask
from appliance.contract import FEW_ROWS
from appliance.errors import ApplianceError
from appliance.serving import Served
from appliance.store.rows import Source

# A larger one keeps the others waiting for longer than it saves them.
_SMALL_ROWS = 128
_MOST_REQUESTS = 64
# Of so few, a batch costs more than its rows: it is worth gathering them, and without the database they are done sooner
# than a thread wakes up and hands them back.
_LIGHT_ROWS = 64
# Turns of the event loop in which nobody joins: from bytes that can be read to a place in line takes two.
_IDLE_TURNS = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    asked: Asked
    answered: asyncio.Future[Result]


@dataclass(slots=True)
class _Line:
    """What waits for one model and counts as one source."""

    served: Served
    source: Source
    stored: bool
    waiting: deque[_Waiting] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None

    def next(self) -> list[_Waiting]:
        """The next batch, in the order in which they came; the same key twice waits for the answer of the first."""
        batch: list[_Waiting] = []
        keys: set[tuple[str, str]] = set()
        rows = 0
        while self.waiting and len(batch) < _MOST_REQUESTS:
            asked = self.waiting[0].asked
            rows += len(asked.question.rows)
            key = (asked.who.owner, asked.ask.key or "")
            if rows > FEW_ROWS or key in keys:
                break
            if asked.ask.key is not None:
                keys.add(key)
            batch.append(self.waiting.popleft())
        return batch


class Together:
    """Answers requests to predict, as :func:`appliance.api.submit.submit` does."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lines: dict[tuple[str, str, Source, bool], _Line] = {}

    async def submit(self, who: Principal, ask: Ask, body: bytes) -> Answer:
        line = asked = None
        if ask.format == ask.accept == "json" and len(body) <= plain.MOST_BYTES:
            line, asked = self._place(who, ask, body)
        result: Result = None
        if line is not None and asked is not None:
            waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
            line.waiting.append(waiting)
            if line.worker is None:
                line.worker = asyncio.create_task(self._work(line))
            result = await waiting.answered
        if result is None:
            return await run_in_threadpool(submit, self._api, who, ask, body)
        if isinstance(result, ApplianceError):
            raise result
        return result

    def _place(self, who: Principal, ask: Ask, body: bytes) -> tuple[_Line | None, Asked | None]:
        """Where it lines up, and as what; nowhere, where it is to be asked alone."""
        try:
            served = self._api.models.get(ask.profile)
            question = bodies.read_question(body, ask, served.profile, datetime.now(UTC), self._api.settings.timezone)
        except ApplianceError:
            if ask.key is None:
                raise
            return None, None  # what came under the key before may be answered again
        # Windows would see the rows of others, which nobody read off a machine.
        lonely = (who.source == "webapp" or not ask.store) and served.profile.history_rows
        if lonely or len(question.rows) > _SMALL_ROWS:
            return None, None
        name = (served.profile.name, served.version, who.source, ask.store)
        line = self._lines.setdefault(name, _Line(served, who.source, ask.store))
        return line, Asked(who, ask, question)

    async def _work(self, line: _Line) -> None:
        while batch := line.next():
            asked = [one.asked for one in batch]
            light = sum(len(one.question.rows) for one in asked) <= _LIGHT_ROWS
            try:
                work = partial(submit_together, self._api, line.served, line.source, asked)
                results = work() if light and not line.stored else await run_in_threadpool(work)
            except Exception:
                results = [None] * len(batch)  # alone, each shows what is wrong with it
            for one, result in zip(batch, results, strict=True):
                if not one.answered.done():
                    one.answered.set_result(result)
            if light and len(batch) > 1:
                await _gather(line)
        line.worker = None
        self._lines = {name: other for name, other in self._lines.items() if other is not line}


async def _gather(line: _Line) -> None:
    """Let those line up whose requests have come, as long as there are more of them."""
    idle = 0
    while idle < _IDLE_TURNS and len(line.waiting) < _MOST_REQUESTS:
        before = len(line.waiting)
        await asyncio.sleep(0)
        idle = 0 if len(line.waiting) > before else idle + 1
