"""Kill a body once at each call by which it changes something; afterwards look at what the next pass makes of it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.faults.audit import Told
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.calls import Call
from tests.faults.runner import Ended, Runner

# Enough to see what they have in common.
_TOLD_FAILURES = 5

Say = Callable[[str], None]
# Looks at a box in which a body was killed, with a runner to run more in it; what is wrong, a line each.
Judge = Callable[[Runner, Box, Ended], Sequence[str]]


@dataclass(slots=True)
class Campaign:
    """The figures of one journey."""

    journey: str
    calls: list[Call]
    kills: list[Call] = field(default_factory=list)
    told: Told | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def statements(self) -> int:
        return sum(call.is_statement for call in self.kills)


def kill_everywhere(
    journey: str,
    runners: Sequence[Runner],
    boxes: Boxes,
    start: Start,
    body: str,
    judge: Judge,
    say: Say,
    calls: list[Call],
    **arguments: Any,
) -> Campaign:
    """Run ``body`` from ``start`` again and again, killed before its 1st, 2nd, ... call until it is through unkilled.

    ``calls`` are those of an undisturbed run: the kills must be as many.
    """
    campaign = Campaign(journey, calls)
    numbers, lock, through = itertools.count(1), threading.Lock(), threading.Event()

    def work(runner: Runner) -> None:
        while not through.is_set() and len(campaign.failures) < _TOLD_FAILURES:
            number = next(numbers)
            with boxes.fresh(start) as box:
                ended = runner.run(body, box.settings, kill_at=number, **arguments)
                box.quiet()
                wrong = judge(runner, box, ended)
            with lock:
                if ended.killed_by is None:
                    through.set()
                    if ended.error:
                        wrong = [*wrong, f"it ended with {ended.error}: {ended.message}"]
                else:
                    campaign.kills.append(ended.killed_by)
                    say(f"{journey}: {len(campaign.kills)} of {len(calls)} killed")
                campaign.failures += [f"killed before call {number}, {ended.killed_by}:\n  {line}" for line in wrong]

    with ThreadPoolExecutor(len(runners)) as pool:
        for done in [pool.submit(work, runner) for runner in runners]:
            done.result()
    return campaign


def demand(campaign: Campaign) -> None:
    """Nothing was wrong after any kill, and no call was left out."""
    assert not campaign.failures, "\n".join(campaign.failures)
    assert len(campaign.kills) == len(campaign.calls)
