"""Kill a body once at each call by which it changes something; then see what those who come after make of it."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.faults import audit
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.calls import Call
from tests.faults.runner import Ended, Runner

# Enough to see what they have in common.
_TOLD_FAILURES = 5
# Of a run that makes as many calls now and then, and mostly one fewer.
_TRIES = 5

Say = Callable[[str], None]
# Looks at a box in which a body was killed, with a runner to run more in it; what is wrong, a line each.
Judge = Callable[[Runner, Box, Ended], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Journey:
    """What is killed, and what comes after it.

    ``killed_before``: the body is run once before, and killed before its call of that number. This happens in the same
    box, for a copied file is another file (its inode says so).
    """

    name: str
    start: Start
    body: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    afterwards: str = "ingest_and_predict"
    killed_before: int = 0

    @contextmanager
    def begun(self, runner: Runner, boxes: Boxes) -> Iterator[Box]:
        """A fresh box, in which the body may run."""
        with boxes.fresh(self.start) as box:
            if self.killed_before:
                killed = runner.run(self.body, box.settings, kill_at=self.killed_before, **self.arguments)
                assert killed.killed_by is not None
                box.quiet()
            yield box


@dataclass(slots=True)
class Figures:
    """What a journey's kills came to; ``accounts`` are those that every box showed in the end."""

    journey: str
    calls: Sequence[Call]
    accounts: Mapping[str, int] = field(default_factory=dict)
    kills: list[Call] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def statements(self) -> int:
        return sum(call.is_statement for call in self.kills)


class Killer:
    """Keeps both cores busy with kills; ``figures`` are those of all journeys so far.

    ``every``: of that many calls one is the last, the first of them by chance; with 1 each call is.
    """

    def __init__(
        self, runners: Sequence[Runner], boxes: Boxes, say: Say, figures: list[Figures], every: int = 1
    ) -> None:
        self._runners, self._boxes, self._say, self._figures, self._every = runners, boxes, say, figures, every

    def seldom(self) -> Killer:
        """At one of ten of these: for what makes hundreds by the programs that it starts, and takes seconds."""
        return Killer(self._runners, self._boxes, self._say, self._figures, 10 * self._every)

    def on_one(self) -> Killer:
        """The same, one after the other."""
        return Killer(self._runners[:1], self._boxes, self._say, self._figures, 10 * self._every)

    def demand_the_same(self, journey: Journey) -> None:
        """Whenever it is killed, what the schedule does next leaves exactly what it leaves without a kill."""
        wanted = undisturbed(self._runners[0], self._boxes, journey)

        def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
            after = runner.run(journey.afterwards, box.settings)
            if after.done is None:
                return [f"the next pass ended with {after.error}: {after.message}"]
            return [*wanted.differences(audit.tell(box)), *audit.broken(box)]

        self.demand(journey, judge, wanted.accounts)

    def demand(self, journey: Journey, judge: Judge, accounts: Mapping[str, int] | None = None) -> None:
        """After no kill the judge finds anything wrong, and no call that is due is left out."""
        with journey.begun(self._runners[0], self._boxes) as box:
            whole = self._runners[0].run(journey.body, box.settings, **journey.arguments)
        assert whole.error == "", whole.message
        calls = whole.made
        figures = Figures(journey.name, calls, accounts or {})
        first = random.randint(1, self._every)
        self._kill_from(first, journey, judge, figures)
        assert not figures.failures, "\n".join(figures.failures)
        due = len(range(first, len(calls) + 1, self._every))
        # One that had to ask a store or a lock twice makes some more.
        assert len(figures.kills) >= due, f"killed at {len(figures.kills)} calls, {due} were due"
        self._figures.append(figures)

    def _kill_from(self, first: int, journey: Journey, judge: Judge, figures: Figures) -> None:
        """Killed before its ``first`` call and each that is due after it, until it is through unkilled."""
        numbers, lock, through = itertools.count(first, self._every), threading.Lock(), threading.Event()

        def kill(runner: Runner, number: int) -> bool:
            with journey.begun(runner, self._boxes) as box:
                ended = runner.run(journey.body, box.settings, kill_at=number, **journey.arguments)
                box.quiet()
                wrong = list(judge(runner, box, ended))
            if ended.error:
                wrong.append(f"it ended with {ended.error}: {ended.message}")
            with lock:
                if ended.killed_by is not None:
                    figures.kills.append(ended.killed_by)
                    self._say(f"{figures.journey}: {len(figures.kills)} of {len(figures.calls)} killed")
                figures.failures += [f"before call {number}, {ended.killed_by}:\n  {line}" for line in wrong]
            return ended.killed_by is not None

        def work(runner: Runner) -> None:
            while not through.is_set() and len(figures.failures) < _TOLD_FAILURES:
                number = next(numbers)
                # What a pipe or a lock gives in two pieces, it may give in one: then a run comes through a call earlier.
                tries = _TRIES if number <= len(figures.calls) else 1
                if not any(kill(runner, number) for _ in range(tries)):
                    through.set()

        with ThreadPoolExecutor(len(self._runners)) as pool:
            for done in [pool.submit(work, runner) for runner in self._runners]:
                done.result()


def undisturbed(runner: Runner, boxes: Boxes, journey: Journey) -> audit.Told:
    """What a journey and those who come after it leave when nobody is killed."""
    with journey.begun(runner, boxes) as box:
        for body, arguments in ((journey.body, journey.arguments), (journey.afterwards, {})):
            ended = runner.run(body, box.settings, **arguments)
            assert ended.error == "", ended.message
        box.quiet()
        assert audit.broken(box) == []
        return audit.tell(box)


def finish(runner: Runner, box: Box, wanted: audit.Told) -> None:
    """What the schedule does next leaves exactly that."""
    box.quiet()
    after = runner.run("ingest_and_predict", box.settings)
    assert after.error == "", after.message
    box.quiet()
    assert wanted.differences(audit.tell(box)) == []
    assert audit.broken(box) == []


def number_of(calls: Sequence[Call], name: str, subject: str, after: int = 0) -> int:
    """The number of the first call of that name whose subject holds a text, behind the call ``after``."""
    for number, call in enumerate(calls, start=1):
        if number > after and call.name == name and subject in call.subject:
            return number
    raise AssertionError(f"there is no {name} of {subject!r} among the calls")
