"""Let each call of a body that changes a file fail; see what it says, and what those who come after make of it."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.counts import LONG
from tests.faults import audit
from tests.faults.boxes import Box, Boxes
from tests.faults.calls import Call
from tests.faults.campaign import Figures, Journey, Judge, Say, undisturbed
from tests.faults.runner import Ended, Runner, Trouble

_TOLD_FAILURES = 5
ERRORS = (errno.EIO, errno.ENOSPC)


class Failer:
    """Keeps both cores busy with failures; of ``every`` that are due one is tried, which of them by chance, and of the syncs
    one of ``syncs``."""

    def __init__(
        self,
        runners: Sequence[Runner],
        boxes: Boxes,
        say: Say,
        figures: list[Figures],
        every: int = 1,
        syncs: int | None = None,
    ) -> None:
        self._runners, self._boxes, self._say, self._figures = runners, boxes, say, figures
        self._every, self._syncs = every, syncs or every

    def seldom(self) -> Failer:
        """One of ten of these, but for syncs: for what calls hundreds of times by the programs that it starts."""
        return Failer(self._runners, self._boxes, self._say, self._figures, 10 * self._every, self._syncs)

    def demand_the_same(self, journey: Journey) -> None:
        """Whatever fails, what the schedule does next leaves exactly what it leaves where nothing failed."""
        wanted = undisturbed(self._runners[0], self._boxes, journey)

        def judge(runner: Runner, box: Box, ended: Ended) -> Sequence[str]:
            after = runner.run(journey.afterwards, box.settings)
            if after.done is None:
                return [f"the next pass ended with {after.error}: {after.message}"]
            box.quiet()
            return [*wanted.differences(audit.tell(box)), *audit.broken(box)]

        self.demand(journey, judge, wanted.accounts)

    def demand(self, journey: Journey, judge: Judge, accounts: Mapping[str, int] | None = None) -> None:
        """No failure ends in anything but a result or one sentence with its way out, and the judge finds nothing wrong."""
        with journey.begun(self._runners[0], self._boxes) as box:
            whole = self._runners[0].run(journey.body, box.settings, **journey.arguments)
        assert whole.error == "", whole.message
        due = self._due(whole.made)
        figures = Figures(journey.name, whole.made, accounts or {})
        left, lock = iter(due), threading.Lock()

        def work(runner: Runner) -> None:
            while len(figures.failures) < _TOLD_FAILURES:
                with lock:
                    number, error = next(left, (0, 0))
                if not number:
                    return
                failed, wrong = self._failed(runner, journey, judge, number, error)
                with lock:
                    if failed is not None:
                        figures.kills.append(failed)
                    self._say(f"{journey.name}: {len(figures.kills)} of {len(due)} failed")
                    figures.failures += [f"{failed} (call {number}, {error}):\n  {line}" for line in wrong]

        with ThreadPoolExecutor(len(self._runners)) as pool:
            for done in [pool.submit(work, runner) for runner in self._runners]:
                done.result()
        assert not figures.failures, "\n".join(figures.failures)
        # A run whose threads took turns otherwise may not have come to a file at that number.
        assert len(figures.kills) > 0.8 * len(due) - 1, f"{len(figures.kills)} calls failed, {len(due)} were due"
        self._figures.append(figures)

    def _due(self, calls: Sequence[Call]) -> list[tuple[int, int]]:
        """Numbers of calls, and errors: each with one, by chance; in the long run with each."""
        found = []
        for syncs, every in ((False, self._every), (True, self._syncs)):
            numbers = [
                number for number, call in enumerate(calls, start=1) if not call.is_statement and call.is_sync == syncs
            ]
            each = [(number, error) for number in numbers for error in (ERRORS if LONG else [random.choice(ERRORS)])]
            # Of few at least one.
            found += each[random.randrange(min(every, len(each) or 1)) :: every]
        return found

    def _failed(
        self, runner: Runner, journey: Journey, judge: Judge, number: int, error: int
    ) -> tuple[Call | None, list[str]]:
        """The call that failed, where it came to that, and what is wrong; its name says with what it failed."""
        with journey.begun(runner, self._boxes) as box:
            try:
                ended = runner.fail(journey.body, box.settings, number, error, **journey.arguments)
            except Trouble as trouble:
                return None, [f"it broke down: {trouble}"]
            box.quiet()
            wrong = list(judge(runner, box, ended))
        if ended.error and ("\n" in ended.message or not ended.way_out):
            wrong.append(f"it ended with no sentence and its way out: {ended.error}: {ended.message!r}")
        return ended.failed, wrong
