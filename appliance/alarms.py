"""Predictions of one machine -> alarm episodes. Pure: no clock, no database.

An alarm opens when ``needed`` of the machine's last ``window`` rows fail, and closes after ``calm`` passing rows in a
row. After it closed, the machine opens no other until ``cooldown`` has passed on the clock of its readings: a machine
on the edge sends one message, not one an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.profile import AlarmRule


@dataclass(frozen=True, slots=True)
class Rule:
    needed: int
    window: int
    calm: int
    cooldown: timedelta

    @classmethod
    def of(cls, rule: AlarmRule) -> Rule:
        return cls(rule.needed, rule.window, rule.calm, timedelta(minutes=rule.cooldown_minutes))


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a machine between two batches."""

    recent: tuple[bool, ...] = ()  # the last rows' verdicts, the oldest first, at most window - 1 are needed
    calm: int = 0  # passing rows in a row up to now
    is_open: bool = False
    quiet_until: datetime | None = None  # no new alarm before this time of reading


@dataclass(frozen=True, slots=True)
class Transition:
    row: int  # index within the batch
    kind: Literal["open", "close"]


def follow(
    rule: Rule, memory: Memory, failing: NDArray[np.bool_], times: NDArray[np.datetime64]
) -> tuple[Memory, list[Transition]]:
    """Follow one machine through its next rows.

    ``failing`` and ``times`` (datetime64[us], UTC), both of shape (rows,), are in the order of time. The result does
    not depend on how rows are cut into batches. Raises nothing.
    """
    rows = len(failing)
    if rows == 0:
        return memory, []
    enough = _failing_in_window(rule, memory.recent, failing) >= rule.needed
    calm = _passing_run(memory.calm, failing)
    is_open, quiet_until = memory.is_open, _to_numpy(memory.quiet_until)
    cooldown = np.timedelta64(rule.cooldown)
    transitions: list[Transition] = []
    at = 0
    while at < rows:
        if is_open:
            wanted = calm[at:] >= rule.calm
        else:
            # A row that passes opens nothing, even while the window still holds enough that failed.
            wanted = enough[at:] & failing[at:]
            if quiet_until is not None:
                wanted = wanted & (times[at:] >= quiet_until)
        step = int(wanted.argmax())
        if not wanted[step]:
            break
        at += step
        transitions.append(Transition(at, "close" if is_open else "open"))
        if is_open:
            quiet_until = times[at] + cooldown
        is_open = not is_open
        at += 1
    recent = (*memory.recent, *failing[-rule.window :].tolist())[-rule.window :]
    return Memory(recent, int(calm[-1]), is_open, _to_datetime(quiet_until)), transitions


def _failing_in_window(rule: Rule, recent: tuple[bool, ...], failing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row, how many of the last ``window`` rows (itself included) fail."""
    before = np.array(recent[-(rule.window - 1) :] if rule.window > 1 else (), dtype=np.bool_)
    total = np.concatenate([[0], np.cumsum(np.concatenate([before, failing]), dtype=np.int64)])
    ends = np.arange(len(before) + 1, len(total))
    counts: NDArray[np.int64] = total[ends] - total[np.maximum(ends - rule.window, 0)]
    return counts


def _passing_run(before: int, failing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row, how many rows up to and with it have passed without a failing one between."""
    position = np.arange(1, len(failing) + 1)
    last_failing = np.maximum.accumulate(np.where(failing, position, -before))
    run: NDArray[np.int64] = position - last_failing
    return run


def _to_numpy(moment: datetime | None) -> np.datetime64 | None:
    return None if moment is None else np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _to_datetime(moment: np.datetime64 | None) -> datetime | None:
    return None if moment is None else moment.astype("datetime64[us]").item().replace(tzinfo=UTC)
