"""The limiter, on a clock of the test's own: never more than so many an hour, nothing lost, alarms first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import notify_plan
from appliance.notify_causes import Waiting
from appliance.notify_plan import HOUR, NEWS, ONE_BY_ONE, Letter
from tests import counts

START = datetime(2026, 11, 24, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Night:
    """What is kept about a target, as the store keeps it, and passes over it every minute."""

    per_hour: int
    waiting: dict[int, Waiting] = field(default_factory=dict)
    until: dict[int, datetime] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    told: list[tuple[datetime, Letter]] = field(default_factory=list)
    attempts: list[datetime] = field(default_factory=list)

    def happens(self, one: Waiting) -> None:
        self.waiting[one.notice_id] = one
        paused = [self.until[other] for other in self.waiting if other in self.until and self.tries[other]]
        self.until[one.notice_id] = one.created_at if one.kind == "alarm" else max([one.created_at, *paused])

    def run(self, now: datetime, works: bool) -> None:
        """One pass, as :mod:`appliance.notify` does it."""
        while True:
            due = [one for one in self.waiting.values() if self.until[one.notice_id] <= now]
            sent = [at for at, _ in self.told]
            plan = notify_plan.plan(due, [at for at in sent if at > now - HOUR], now, self.per_hour)
            if plan.later is not None:
                assert plan.later > now
                self.until |= {one.notice_id: plan.later for one in due}
            if not plan.letters:
                return
            for letter in plan.letters:
                now += timedelta(microseconds=1)
                self.attempts.append(now)
                if not works:
                    failures = max(self.tries[number] for number in self.waiting) + 1
                    self.tries.update(letter.notice_ids)
                    pause = notify_plan.pause(failures, 0.5)
                    self.until |= dict.fromkeys(self.waiting, now + pause)
                    return
                self.told.append((now, letter))
                for number in letter.notice_ids:
                    del self.waiting[number]
                self.until |= {number: min(until, now) for number, until in self.until.items()}


happenings = st.lists(
    st.tuples(
        st.integers(0, 300), st.sampled_from(["alarm", "file", "file", "event"]), st.booleans(), st.integers(1, 12)
    ),
    max_size=25,
)


@settings(max_examples=counts.examples(60))
@given(
    per_hour=st.integers(1, 15),
    happenings=happenings,
    away=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90))),
)
def test_a_night(per_hour: int, happenings: list[tuple[int, str, bool, int]], away: list[tuple[int, int]]) -> None:
    night, number = Night(per_hour), 0
    causes: dict[int, Waiting] = {}
    for minute in range(300 + 24 * 60):
        now = START + minute * MINUTE
        for _, kind, is_open, many in (one for one in happenings if one[0] == minute):
            for _ in range(many):
                number += 1
                causes[number] = Waiting(number, kind, now, is_open and kind == "alarm")  # type: ignore[arg-type]
                night.happens(causes[number])
        if not night.waiting:
            continue
        night.run(now, works=not any(start <= minute < start + span for start, span in away))
    # Nothing is lost, and each is told once.
    assert night.waiting == {}
    assert Counter(number for _, letter in night.told for number in letter.notice_ids) == Counter(list(causes))
    # Never more than so many within an hour, wherever the hour begins.
    times = [at for at, _ in night.told]
    for index in range(len(times) - per_hour):
        assert times[index + per_hour] - times[index] >= HOUR
    for at, letter in night.told:
        ranks = [("alarm", "file", "event").index(one.kind) for one in letter.news]
        assert ranks == sorted(ranks), "alarms first"
        if not letter.is_digest:
            assert len(letter.news) == 1
        waited = [other.created_at for other in letter.news]
        assert all(moment <= at for moment in waited)
    if not away:
        alarm_first(night, per_hour)


def alarm_first(night: Night, per_hour: int) -> None:
    """While the target works, an alarm waits for nothing but an hour that is full, of which the last are kept."""
    times = [at for at, _ in night.told]
    for at, letter in night.told:
        for one in letter.news:
            if one.kind == "alarm" and at - one.created_at > MINUTE:
                before = [moment for moment in times if one.created_at - HOUR < moment < one.created_at + MINUTE]
                assert len(before) >= per_hour
        others = [other for other in letter.news if other.kind != "alarm"]
        if others and not any(other.kind == "alarm" for other in letter.news):
            hour = [moment for moment in times if at - HOUR < moment <= at]
            assert len(hour) <= per_hour - per_hour // 4, "what is kept for alarms is kept"


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 20), st.integers(1, 15))
def test_up_to_three_one_by_one_and_more_together(alarms: int, files: int, sent: int, per_hour: int) -> None:
    due = [
        Waiting(number, "alarm" if number < alarms else "file", START, number < alarms)
        for number in range(alarms + files)
    ]
    told = [START + number * MINUTE / 10 for number in range(min(sent, per_hour))]
    plan = notify_plan.plan(due, told, START + 30 * MINUTE, per_hour)
    assert len(plan.letters) <= ONE_BY_ONE
    assert len(plan.letters) + len(told) <= per_hour
    assert {number for letter in plan.letters for number in letter.notice_ids} in (
        {one.notice_id for one in due},
        set(),
    )
    if len(due) > ONE_BY_ONE and plan.letters:
        assert [letter.is_digest for letter in plan.letters] == [True]
    if due and not plan.letters:
        assert plan.later is not None
        # Then, and not before, there is room.
        assert notify_plan.plan(due, told, plan.later, per_hour).letters
        assert not notify_plan.plan(due, told, plan.later - timedelta(microseconds=1), per_hour).letters


def test_what_is_no_news_is_only_counted() -> None:
    now = START + NEWS + HOUR
    due = [
        Waiting(1, "alarm", START, True),
        Waiting(2, "alarm", START, False),
        Waiting(3, "file", START),
        Waiting(4, "event", now),
    ]
    [letter] = notify_plan.plan(due, [], now, 12).letters
    assert ([one.notice_id for one in letter.news], sorted(one.notice_id for one in letter.old)) == ([1, 4], [2, 3])
    assert letter.is_digest
    assert sorted(letter.notice_ids) == [1, 2, 3, 4]


def test_a_digest_begins_with_alarms_that_go_on_and_with_what_is_newest() -> None:
    kinds = ["event", "file", "alarm", "file", "alarm", "alarm"]
    due = [Waiting(number, kind, START, number == 4) for number, kind in enumerate(kinds)]  # type: ignore[arg-type]
    [letter] = notify_plan.plan(due, [], START, 12).letters
    assert [one.notice_id for one in letter.news] == [4, 5, 2, 3, 1, 0]
    few = notify_plan.plan(due[:3], [], START, 12).letters
    assert [one.notice_ids for one in few] == [[2], [1], [0]]


def test_a_clock_that_was_set_back_leaves_no_full_hour_behind() -> None:
    ahead = [START + timedelta(days=300) + number * MINUTE for number in range(12)]
    assert notify_plan.plan([Waiting(1, "file", START)], ahead, START, 12).letters


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_of_one_minute_to_one_hour(tries: int, jitter: float) -> None:
    assert MINUTE <= notify_plan.pause(tries, jitter) <= HOUR
    assert notify_plan.pause(tries, jitter) <= notify_plan.pause(tries + 1, 0)
