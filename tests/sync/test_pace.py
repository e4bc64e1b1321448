from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance import pace
from appliance.pace import Pace, is_open


@pytest.mark.parametrize(
    ("hours", "hour", "wanted"),
    [
        (None, 12, True), ("8-17", 8, True), ("8-17", 16, True), ("8-17", 17, False), ("8-17", 3, False),
        ("22-6", 23, True), ("22-6", 0, True), ("22-6", 5, True), ("22-6", 6, False), ("22-6", 21, False),
        ("0-24", 13, True), ("20-24", 23, True), ("20-24", 0, False), ("5-5", 3, True),
    ],
)  # fmt: skip
def test_hours_may_go_past_midnight(hours: str | None, hour: int, wanted: bool) -> None:
    assert is_open(hours, "UTC", datetime(2026, 11, 29, hour, 30, tzinfo=UTC)) is wanted


def test_hours_are_those_of_the_plant() -> None:
    assert is_open("22-6", "Asia/Tokyo", datetime(2026, 11, 29, 14, tzinfo=UTC))
    assert not is_open("22-6", "Asia/Tokyo", datetime(2026, 11, 29, 23, tzinfo=UTC))


@pytest.mark.parametrize("hour", range(24))
def test_hours_hold_on_the_days_when_the_clock_changes(hour: int) -> None:
    """Europe/Berlin, 2026-10-25: 02:00 to 03:00 comes twice, and belongs to the night both times."""
    now = datetime(2026, 10, 25, hour, tzinfo=UTC)
    local = hour + (2 if hour < 1 else 1)
    assert is_open("22-6", "Europe/Berlin", now) is (local % 24 >= 22 or local % 24 < 6)


def test_a_bandwidth_is_kept_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(pace.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    limited = Pace(1_000.0)
    for _ in range(100):
        limited.take(100)
    assert clock[0] == pytest.approx(10_000 / 1_000, abs=0.6)
    clock[0] += 60
    limited.take(100)
    assert clock[0] < 71, "what was not used is not owed, and not saved up either"


def test_without_a_limit_nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace.time, "sleep", lambda seconds: pytest.fail("slept"))
    Pace().take(1 << 40)
