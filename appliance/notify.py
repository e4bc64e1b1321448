"""Who is told, of what, once: one pass over what waits, and the test of all targets.

A notice was written with its cause; here it becomes messages. Each target is a lane of its own, with its own pauses
and its own count of the hour, and one message of it is on its way at a time: it is marked as sent before the next one
goes, so a process that is killed in between repeats one message at most, and loses none. Apprise works in a process of
its own, see :mod:`appliance.notify_child`; importing this costs nothing.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from appliance import notify_plan, notify_targets, notify_words
from appliance.errors import SettingError
from appliance.notify_causes import WISHES, Wish
from appliance.notify_courier import Courier
from appliance.notify_plan import Letter
from appliance.notify_targets import Target
from appliance.notify_words import Message, Place
from appliance.settings import Settings
from appliance.store import notices
from appliance.store.engine import Connection, Engine, transaction

SECONDS = 40.0
# The schedule's passes send every minute or two.
LEFT_OVER = timedelta(minutes=10)
_CRITICALITIES = {"high": ("high",), "medium": ("high", "medium"), "none": ()}
_KINDS = {"alarm": "alarms", "quality": "bad files", "box": "faults of the box"}

Clock = Callable[[Connection], datetime]


@dataclass(slots=True)
class Sent:
    """What one pass did. ``waiting``: notices that somebody is still to be told; ``errors``: of settings and targets."""

    messages: int = 0
    notices: int = 0  # told by these messages; one that two targets were told of counts twice
    failed: int = 0  # targets that took no message
    waiting: int = 0
    busy: bool = False  # another process is at it
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if self.busy:
            return "Messages are being sent by another process."
        said = "Nothing to tell."
        if self.messages:
            said = f"{_number(self.messages, 'message')} sent, of {_number(self.notices, 'notice')}."
        elif self.waiting or self.errors:
            said = "No message was sent."
        waits = f"{_number(self.waiting, 'notice')} still to be told." if self.waiting else ""
        return " ".join(part for part in (said, waits, *self.errors) if part)


@dataclass(frozen=True, slots=True)
class Tried:
    """``error`` is None where the message was delivered."""

    label: str
    line: int
    error: str | None


def send(settings: Settings, engine: Engine, seconds: float | None = None) -> Sent:
    """One pass over what is due, of at most so many seconds. StoreAway where the database is away.

    A target that fails is told again later, after one minute up to one hour; a wrong line of the setting is told in
    ``errors``. Without any target what waits is settled: nobody wanted it.
    """
    targets, wrong = notify_targets.read(settings)
    with notices.only_sender(engine) as connection:
        if connection is None:
            return Sent(busy=True)
        with Courier() as courier:
            run = _Pass(settings, connection, courier, targets, all_known=not wrong, clock=notices.clock)
            run.done.errors += [str(error) for error in wrong]
            run.until(time.monotonic() + (SECONDS if seconds is None else seconds))
        return run.done


def is_left_over(engine: Engine) -> bool:
    """Whether something waits that the schedule should have sent long ago: it is silent, or an address is."""
    with transaction(engine) as connection:
        number, _ = notices.overdue(connection, notices.clock(connection) - LEFT_OVER)
    return number > 0


def try_all(settings: Settings, only: Wish | None = None, seconds: float = SECONDS) -> list[Tried]:
    """Send a test message to every target now (of that wish alone); wrong lines are among the results."""
    targets, wrong = notify_targets.read(settings)
    chosen = [target for target in targets if only is None or only in target.wishes]
    place = _place(settings)
    errors: dict[str, str | None] = {}
    with Courier() as courier:
        jobs = {
            courier.send(target.url, notify_words.trial(place, _told_of(target.wishes))): target for target in chosen
        }
        deadline = time.monotonic() + seconds
        while jobs and (answer := courier.answer(deadline - time.monotonic())):
            errors[jobs.pop(answer[0]).digest] = answer[1]
    late = f"It did not answer within {seconds:.0f} seconds."
    tried = [Tried(target.label, target.line, errors.get(target.digest, late)) for target in chosen]
    return tried + [Tried("wrong line", 0, str(error)) for error in wrong]


def look(settings: Settings, seconds: float = SECONDS) -> list[SettingError]:
    """What is wrong with the setting, an error a line: also what only Apprise can tell. Nothing is sent."""
    targets, found = notify_targets.read(settings)
    with Courier() as courier:
        jobs = {courier.look(target.url): target for target in targets}
        deadline = time.monotonic() + seconds
        while jobs and (answer := courier.answer(deadline - time.monotonic())):
            target, error = jobs.pop(answer[0]), answer[1]
            if error is not None:
                found.append(target.wrong(error))
    return found


def listed(settings: Settings, engine: Engine, limit: int) -> list[dict[str, Any]]:
    """Messages with state, target and what they tell of: those that wait first, then the newest."""
    with transaction(engine) as connection:
        found = notices.listed(connection, limit)
        causes = notices.causes(connection, [one["notice_id"] for one in found])
    place = _place(settings)
    for one in found:
        cause = causes.get(one.pop("notice_id"))
        one["what"] = notify_words.line(place, cause) if cause is not None else "removed since"
    return found


@dataclass(slots=True)
class _Lane:
    """A target in a pass: what was planned for it and did not go yet."""

    target: Target
    planned: deque[tuple[Letter, Message]] = field(default_factory=deque)


class _Pass:
    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        courier: Courier,
        targets: Sequence[Target],
        *,
        all_known: bool,
        clock: Clock,
    ) -> None:
        self.done = Sent()
        self._settings = settings
        self._connection = connection
        self._courier = courier
        self._targets = targets
        self._all_known = all_known
        self._clock = clock
        self._place = _place(settings)
        self._under_way: dict[int, tuple[_Lane, Letter]] = {}

    def until(self, deadline: float) -> None:
        started = time.monotonic()
        for target in self._targets:
            self._next(_Lane(target), deadline)
        while self._under_way:
            answer = self._courier.answer(deadline - time.monotonic())
            if answer is None:
                break
            lane, letter = self._under_way.pop(answer[0])
            if answer[1] is None:
                self._sent(lane, letter)
                self._next(lane, deadline)
            else:
                self._failed(lane, letter, answer[1])
        for lane, letter in self._under_way.values():
            self._failed(lane, letter, f"It did not answer within {time.monotonic() - started:.0f} seconds.")
        with self._connection.begin():
            now = self._clock(self._connection)
            if not self._targets:
                self._take_up(now)
            notices.finish(self._connection, now, all_known=self._all_known)
            self.done.waiting = notices.waiting_count(self._connection)

    def _next(self, lane: _Lane, deadline: float) -> None:
        """Send the lane's next message, if there is one and time for it."""
        if time.monotonic() >= deadline:
            return
        if not lane.planned:
            with self._connection.begin():
                now = self._clock(self._connection)
                self._take_up(now)
                lane.planned.extend(self._plan(lane.target.digest, now))
        if lane.planned:
            letter, message = lane.planned.popleft()
            self._under_way[self._courier.send(lane.target.url, message)] = lane, letter

    def _take_up(self, now: datetime) -> None:
        """Also what happened while this pass ran: the one who saw it may have been told that we are at it."""
        wishes = {wish: kind for kind, wish in WISHES.items()}
        addressees = [
            notices.Addressee(target.digest, target.label, frozenset(wishes[wish] for wish in target.wishes))
            for target in self._targets
        ]
        criticalities = _CRITICALITIES[self._settings.notify_files]
        notices.open_deliveries(self._connection, addressees, criticalities, now, all_known=self._all_known)

    def _plan(self, digest: str, now: datetime) -> list[tuple[Letter, Message]]:
        due = notices.due(self._connection, digest, now)
        sent = notices.sent_times(self._connection, digest, now - notify_plan.HOUR)
        plan = notify_plan.plan(due, sent, now, self._settings.notify_per_hour)
        if plan.later is not None:
            notices.postpone(self._connection, digest, [one.notice_id for one in due], plan.later)
        composed = ((letter, self._compose(letter)) for letter in plan.letters)
        return [(letter, message) for letter, message in composed if message is not None]

    def _compose(self, letter: Letter) -> Message | None:
        """None where the cause was removed this very moment: the next pass lets go of it."""
        shown = letter.news[: notify_words.LINES]
        causes = notices.causes(self._connection, [one.notice_id for one in shown])
        if not letter.is_digest:
            cause = causes.get(letter.news[0].notice_id)
            return notify_words.single(self._place, cause) if cause is not None else None
        older = None
        if letter.old:
            moments = [one.created_at for one in letter.old]
            older = (len(letter.old), min(moments), max(moments))
        listed = [(one.kind, causes[one.notice_id]) for one in shown if one.notice_id in causes]
        return notify_words.digest(self._place, listed, Counter(one.kind for one in letter.news), older)

    def _sent(self, lane: _Lane, letter: Letter) -> None:
        with self._connection.begin():
            at = self._clock(self._connection)
            notices.mark_sent(self._connection, lane.target.digest, letter.notice_ids, at)
        self.done.messages += 1
        self.done.notices += len(letter.notice_ids)

    def _failed(self, lane: _Lane, letter: Letter, error: str) -> None:
        digest = lane.target.digest
        with self._connection.begin():
            pause = notify_plan.pause(notices.failures(self._connection, digest) + 1, secrets.randbelow(1000) / 1000)
            later = self._clock(self._connection) + pause
            notices.mark_failed(self._connection, digest, letter.notice_ids, error, later)
        self.done.failed += 1
        self.done.errors.append(f"{lane.target.label}: {error}")


def _number(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _place(settings: Settings) -> Place:
    return Place(settings.site, settings.timezone, settings.reachable_url)


def _told_of(wishes: frozenset[Wish]) -> str:
    return ", ".join(said for wish, said in _KINDS.items() if wish in wishes)
