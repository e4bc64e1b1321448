"""What waits for a target -> the messages that go out now. Pure: no clock, no database.

Up to three go out one by one, more as one digest, so that a bad night makes a few messages and not five hundred. An
hour's last messages are kept for alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from appliance.notify_causes import Waiting

ONE_BY_ONE = 3
HOUR = timedelta(hours=1)
# What waited for longer is no news: only counted, unless it is an alarm that still goes on.
NEWS = timedelta(days=3)

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: of a single notice, or a digest of ``news`` and the number of ``old`` ones."""

    news: tuple[Waiting, ...]
    old: tuple[Waiting, ...] = ()
    is_digest: bool = False

    @property
    def notice_ids(self) -> list[int]:
        return [waiting.notice_id for waiting in (*self.news, *self.old)]


@dataclass(frozen=True, slots=True)
class Plan:
    """``letters`` in their order; what is in none of them waits until ``later``."""

    letters: tuple[Letter, ...] = ()
    later: datetime | None = None


def plan(due: Sequence[Waiting], sent: Sequence[datetime], now: datetime, per_hour: int) -> Plan:
    """``due``: all whose turn has come; ``sent``: the moments of the last hour's messages, ascending."""
    if not due:
        return Plan()
    # A clock that was set back leaves moments in the future; they must not block the target until then.
    sent = [moment for moment in sent if now - HOUR < moment <= now]
    kept = per_hour // 4
    alarms = [one for one in due if one.kind == "alarm"]
    rest = [one for one in due if one.kind != "alarm"]
    free = per_hour - len(sent)
    if free <= (0 if alarms else kept):
        # The last slot to become free again before there is room.
        return Plan(later=sent[len(sent) - (per_hour - (0 if alarms else kept))] + HOUR)
    old = tuple(one for one in due if now - one.created_at > NEWS and not one.is_open)
    room = len(alarms) <= free and (not rest or len(due) <= free - kept)
    if len(due) <= ONE_BY_ONE and room and not old:
        return Plan(tuple(Letter((one,)) for one in _ranked([*alarms, *rest])))
    counted = {one.notice_id for one in old}
    news = _ranked([one for one in due if one.notice_id not in counted], newest_first=True)
    return Plan((Letter(tuple(news), old, is_digest=True),))


def pause(tries: int, jitter: float) -> timedelta:
    """How long a target is left alone after so many failures in a row; ``jitter`` from 0 to 1."""
    doubled = FIRST_PAUSE * (1 << min(tries - 1, 10))
    # Boxes that lost the same mail server shall not all come back in the same second.
    return max(FIRST_PAUSE, min(doubled, LONGEST_PAUSE) * (1 - jitter / 4))


def _ranked(waiting: Sequence[Waiting], newest_first: bool = False) -> list[Waiting]:
    """Alarms first, those that go on before those that are over; then files; then the box itself."""
    order = {"alarm": 0, "file": 1, "event": 2}
    sign = -1 if newest_first else 1
    return sorted(waiting, key=lambda one: (order[one.kind], not one.is_open, sign * one.notice_id))
