"""Time by step, taken from outside: functions are wrapped while a measurement runs and put back after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

REST = "everything else"


@dataclass(slots=True)
class Spent:
    """Seconds: on the wall, of CPU in this process (all threads), of CPU in the database."""

    wall: float = 0.0
    cpu: float = 0.0
    database: float = 0.0

    def add(self, wall: float, cpu: float, database: float) -> None:
        self.wall += wall
        self.cpu += cpu
        self.database += database


class Stopwatch:
    """Steps do not overlap: what is called within a step belongs to it. Other threads are not looked at."""

    def __init__(self, database: Callable[[], float]) -> None:
        self._database = database
        self._thread = threading.get_ident()
        self._within = False
        self.steps: dict[str, Spent] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if self._within or threading.get_ident() != self._thread:
            yield
            return
        self._within = True
        before = self._now()
        try:
            yield
        finally:
            self._within = False
            self._add(name, before)

    @contextmanager
    def whole(self) -> Iterator[Spent]:
        """Time all that happens in the block; what no step took goes to ``REST``."""
        taken = Spent()
        before = self._now()
        yield taken
        after = self._now()
        taken.add(*(b - a for a, b in zip(before, after, strict=True)))
        done = [asdict(spent) for spent in self.steps.values()]
        rest = {key: value - sum(spent[key] for spent in done) for key, value in asdict(taken).items()}
        self.steps[REST] = Spent(**rest)

    def calls(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*args, **options)

        return timed

    def items(self, name: str, function: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        """For a generator: the time until each item is there, not the time in which it is used."""

        @wraps(function)
        def timed(*args: Any, **options: Any) -> Iterator[Any]:
            with self.step(name):
                items = iter(function(*args, **options))
            while True:
                with self.step(name):
                    item = next(items, items)
                if item is items:
                    return
                yield item

        return timed

    @contextmanager
    def around(self, places: Sequence[tuple[str, Any, str]]) -> Iterator[None]:
        """Wrap the functions (step, owner, attribute) for as long as the block lasts."""
        with ExitStack() as stack:
            for name, owner, attribute in places:
                function = getattr(owner, attribute)
                wrap = self.items if attribute == "__iter__" else self.calls
                stack.enter_context(mock.patch.object(owner, attribute, wrap(name, function)))
            yield

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self._database()

    def _add(self, name: str, before: tuple[float, float, float]) -> None:
        after = self._now()
        self.steps.setdefault(name, Spent()).add(*(b - a for a, b in zip(before, after, strict=True)))


class DatabaseClock:
    """CPU seconds of a server's sessions, as the kernel counts them."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._paths = [Path(f"/proc/{pid}/schedstat") for pid in pids]

    def __call__(self) -> float:
        total = 0
        for path in self._paths:
            try:
                total += int(path.read_text().split()[0])
            except (OSError, IndexError):
                continue
        return total / 1e9
