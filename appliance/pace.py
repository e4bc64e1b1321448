"""How fast, and when, a box may copy: a bandwidth, hours of plant time, and pauses after failures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from appliance.settings import Settings

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3_600.0
# A limit is kept over about a second: sooner would be jerky, and later would be none.
_BURST_SECONDS = 0.5


def pause(failures: int) -> float:
    """Seconds until the next try after so many failures in a row: twice as long each time, and never for two boxes the
    same."""
    longest: float = min(FIRST_PAUSE_SECONDS * 2 ** min(max(failures, 1) - 1, 20), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nobody gains by guessing it


def is_open(hours: str | None, timezone: str, now: datetime) -> bool:
    """Whether copying is allowed at that moment (aware): ``hours`` as ``22-6`` or ``8-17``, the end not included."""
    if hours is None:
        return True
    first, last = (int(hour) % 24 for hour in hours.split("-"))
    hour = now.astimezone(ZoneInfo(timezone)).hour
    if first == last:
        return True
    return first <= hour < last if first < last else hour >= first or hour < last


@dataclass(slots=True)
class Pace:
    """A bandwidth in bytes a second, None for no limit; ``until`` says whether copying may go on."""

    bytes_per_second: float | None = None
    until: Callable[[], bool] = lambda: True
    _debt: float = field(default=0.0, init=False)
    _at: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], datetime], seconds: float | None = None) -> Pace:
        """As the settings say; after ``seconds`` nothing further may begin."""
        end = None if seconds is None else time.monotonic() + seconds
        rate = settings.s3_kib_per_second

        def until() -> bool:
            in_time = end is None or time.monotonic() < end
            return in_time and is_open(settings.s3_hours, settings.timezone, now())

        return cls(None if rate is None else rate * 1024.0, until)

    def take(self, count: int) -> None:
        """So many bytes leave now: sleeps until that is no more than the bandwidth allows."""
        if self.bytes_per_second is None:
            return
        now = time.monotonic()
        self._debt = max(0.0, self._debt - (now - self._at) * self.bytes_per_second) + count
        self._at = now
        owed = self._debt / self.bytes_per_second
        if owed > _BURST_SECONDS:
            time.sleep(owed - _BURST_SECONDS)
