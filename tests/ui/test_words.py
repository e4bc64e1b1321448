"""How figures, ages, times and states are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ui import states, words

STRAIN = {"unit": "min N.m", "decimals": 0}


@pytest.mark.parametrize(
    ("value", "column", "said"),
    [
        (11430.4, STRAIN, "11,430 min N.m"),
        (2.4, {"unit": "mm/s", "decimals": 2}, "2.40 mm/s"),
        (7, {"unit": ""}, "7"),
        (True, {"unit": ""}, "yes"),
        ("L", {"category_titles": {"L": "low"}}, "low"),
        (None, STRAIN, "–"),
    ],
)
def test_a_value_is_said_in_the_digits_and_the_unit_of_the_profile(
    value: object, column: dict[str, object], said: str
) -> None:
    assert words.amount(value, column) == said


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.0, "0 %"), (0.0004, "< 1 %"), (0.032, "3 %"), (0.635, "64 %"), (0.9999, "> 99 %"), (0.992, "99 %"), (1.0, "100 %"), (None, "–")],
)  # fmt: skip
def test_what_is_not_certain_is_never_said_to_be(p: float | None, said: str) -> None:
    assert words.probability(p) == said


@given(some.floats(0, 1))
def test_only_certainty_is_0_or_100(p: float) -> None:
    said = words.probability(p)
    assert (said == "0 %") == (p == 0)
    assert (said == "100 %") == (p == 1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_are_short(seconds: int, said: str) -> None:
    now = datetime.now(UTC)
    assert words.age(now - timedelta(seconds=seconds), now) == said
    assert words.age(None) == "never"


def test_times_are_plant_time_and_say_the_day_where_it_is_another_one() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert words.when("2026-03-01T11:30:00Z", berlin) == "2026-03-01 12:30"
    now = words.now()
    assert words.when(now, berlin) == f"{now.astimezone(berlin):%H:%M}"
    assert words.when(None, berlin) == "–"


@given(some.text())
def test_what_strangers_wrote_is_one_line_and_no_markdown(text: str) -> None:
    said = words.plain(text)
    assert "\n" not in said
    assert "\r" not in said
    bare = said.replace("\\\\", "")
    for sign in "`*_[]<>#|~:$":
        assert f"\\{sign}" in bare or sign not in bare


def machine(**more: object) -> dict[str, object]:
    base = {"name": "m", "profile": "p", "alarm": None, "last_failing": False, "last_probability": 0.0}
    return {**base, "last_read_at": words.now().isoformat(), **more}


def test_what_was_well_and_is_silent_is_not_well() -> None:
    now = words.now()
    long_ago = (now - timedelta(hours=2)).isoformat()
    assert states.of(machine(), now) == "passing"
    assert states.of(machine(last_read_at=long_ago), now) == "stale"
    assert states.of(machine(last_failing=True, last_read_at=long_ago), now) == "stale"
    assert states.of(machine(last_read_at=None), now) == "silent"
    assert states.of(machine(alarm={"state": "open"}, last_read_at=long_ago), now) == "open"


def test_machines_come_by_risk() -> None:
    now = words.now()
    found = [
        machine(name="calm", last_probability=0.01),
        machine(name="gone", last_read_at=(now - timedelta(days=1)).isoformat()),
        machine(name="new", last_read_at=None),
        machine(name="rising", last_probability=0.02),
        machine(name="failing", last_failing=True, last_probability=0.4),
        machine(name="known", alarm={"state": "acknowledged"}, last_probability=0.99),
        machine(name="worse", alarm={"state": "open"}, last_probability=0.9),
        machine(name="bad", alarm={"state": "open"}, last_probability=0.5),
        machine(name="quiet", alarm={"state": "snoozed"}, last_probability=0.99),
    ]
    order = ["worse", "bad", "known", "quiet", "failing", "gone", "rising", "calm", "new"]
    assert [one["name"] for one in states.by_risk(found, now)] == order


@pytest.mark.parametrize(
    ("value", "said"),
    [(187.365, "187.4"), (10533.1, "10,533"), (-2.0, "-2"), (0.00123456, "0.001235"), (None, words.NONE)],
)
def test_the_end_of_a_seen_range_has_no_odd_digits(value: float | None, said: str) -> None:
    assert words.rough(value) == said
