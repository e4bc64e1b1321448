"""Whether the doctor notices a schedule that rests, fails or hangs, and leaves one alone that works."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from appliance import checks, cron
from appliance.checks import runs as check
from appliance.checks.base import Fault
from appliance.settings import Settings
from appliance.store import engine as engines
from tests import counts

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    # Of one number alone, croniter makes all of them.
    span = st.lists(one, min_size=2, max_size=2, unique=True).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, high + 5)
    part = st.one_of(
        *(st.just("*"), one.map(str), span),
        *(step.map(lambda s: f"*/{s}"), st.tuples(span, step).map(lambda p: f"{p[0]}/{p[1]}")),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@given(numbers(0, 59), numbers(0, 23))
@hypothesis_settings(max_examples=counts.examples(60))
def test_the_longest_gap_of_a_day_is_that_of_the_scheduler(minutes: str, hours: str) -> None:
    """Airflow reads such expressions by croniter."""
    expression = f"{minutes} {hours} * * *"
    minute, hour, *_ = croniter.expand(expression)[0]
    fits = [
        60 * at_hour + at_minute
        for at_hour in range(48)
        for at_minute in range(60)
        if ("*" in hour or at_hour % 24 in hour) and ("*" in minute or at_minute in minute)
    ]
    widest = max(after - before for before, after in itertools.pairwise(fits))
    assert cron.longest_gap(expression) == timedelta(minutes=widest)


@given(
    numbers(0, 59),
    st.sampled_from(["*", "1", "31", "*/5", "1-5"]),
    st.sampled_from(["*", "1", "*/3", "JAN"]),
    st.sampled_from(["*", "1-5", "MON", "0"]),
)
@hypothesis_settings(max_examples=counts.examples(40))
def test_where_only_some_days_fit_it_is_never_too_short(minutes: str, day: str, month: str, weekday: str) -> None:
    expression = f"{minutes} 3 {day} {month} {weekday}"
    gap = cron.longest_gap(expression)
    assert gap is not None
    moments = croniter(expression, MONDAY)
    before = moments.get_next(datetime)
    for _ in range(8):
        after = moments.get_next(datetime)
        assert after - before <= gap
        before = after


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "* 24 * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_what_is_no_schedule_has_no_gap(expression: str) -> None:
    assert cron.longest_gap(expression) is None


def settings(**more: Any) -> Settings:
    return Settings(schedule="airflow", dsn="postgresql://x/y", **more)


def found(engine: Engine, **more: Any) -> list[Fault]:
    return check.check(checks.Context(settings(**more), engine, None, datetime.now(UTC)))


def ran(
    engine: Engine, kind: str, minutes_ago: float, outcome: str | None = "done", why: str = "", step: str = ""
) -> None:
    with engines.transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO run (kind, started_at, finished_at, outcome, why, counts) SELECT :kind, at,"
                " CASE WHEN :outcome IS NOT NULL THEN at END, :outcome, :why, CAST(:counts AS jsonb)"
                " FROM (SELECT clock_timestamp() - make_interval(secs => :seconds) AS at) AS t"
            ),
            {
                "kind": kind,
                "outcome": outcome,
                "why": why or None,
                "seconds": 60 * minutes_ago,
                "counts": f'{{"step": "{step}"}}' if step else "{}",
            },
        )


@pytest.fixture
def well(engine: Engine) -> Engine:
    """A box whose schedule ran a moment ago."""
    for kind in ("ingest", "predict", "maintain"):
        ran(engine, kind, 1, "skipped")
    return engine


def test_a_schedule_that_works_is_no_fault(well: Engine) -> None:
    assert found(well) == []


def test_who_runs_no_airflow_is_not_asked(engine: Engine) -> None:
    other = Settings(schedule="other", dsn="postgresql://x/y")
    assert check.check(checks.Context(other, engine, None, datetime.now(UTC))) == []


def test_a_schedule_that_never_ran_is_told_but_not_of_what_has_its_turn_at_night(engine: Engine) -> None:
    faults = found(engine)
    assert [fault.severity for fault in faults] == ["warning", "warning"]
    assert all("never ran" in fault.sentence for fault in faults)
    ran(engine, "ingest", 20)
    ran(engine, "ingest", 1)
    [fault] = found(engine)
    assert (fault.severity, fault.sentence[:11]) == ("warning", "Predicting:")
    with engines.transaction(engine) as connection:
        connection.execute(text("UPDATE run SET started_at = started_at - interval '4 days' WHERE id = 1"))
    assert any("Maintenance: no run since" in fault.sentence for fault in found(engine))


@pytest.mark.parametrize(
    ("expression", "minutes", "severity"),
    [
        ("* * * * *", 7, []),
        ("* * * * *", 10, ["warning"]),
        ("* * * * *", 45, ["fault"]),
        ("0 * * * *", 120, []),
        ("0 * * * *", 200, ["warning"]),
        ("0 6-22 * * *", 9 * 60, []),
        ("0 6 * * 1", 3 * 24 * 60, []),
    ],
)
def test_silence_is_judged_by_the_schedule(well: Engine, expression: str, minutes: int, severity: list[str]) -> None:
    with engines.transaction(well) as connection:
        connection.execute(text("DELETE FROM run WHERE kind = 'ingest'"))
    ran(well, "ingest", minutes)
    faults = found(well, ingest_cron=expression)
    assert [fault.severity for fault in faults] == severity
    assert all("Taking files in: the last run was" in fault.sentence for fault in faults)
    assert all("airflow health" in fault.way_out for fault in faults)


def test_a_long_run_is_no_silence_but_one_without_end_is(well: Engine) -> None:
    ran(well, "ingest", 90, None)
    assert found(well) == []
    ran(well, "ingest", 300, None)
    [fault] = found(well)
    assert "under way for 5 hours" in fault.sentence


def test_runs_that_failed_in_a_row_are_a_fault_with_the_reason(well: Engine) -> None:
    for number in range(3):
        assert found(well) == []
        ran(well, "predict", 10 - number, "failed", "The API cannot be reached.")
        ran(well, "predict", 10 - number, "skipped")
    [fault] = found(well)
    assert (fault.severity, fault.sentence) == ("fault", "Predicting: the last 3 runs failed.")
    assert "The API cannot be reached." in fault.way_out
    ran(well, "predict", 1)
    assert found(well) == []


def test_failures_of_yesterday_are_no_fault_of_today(well: Engine) -> None:
    for _ in range(3):
        ran(well, "predict", 24 * 60, "failed", "x")
    ran(well, "predict", 1, "skipped")
    assert found(well) == []


def test_a_step_of_maintenance_that_failed_last_night_is_named(well: Engine) -> None:
    ran(well, "maintain", 120, "done", step="rotate_logs")
    ran(well, "maintain", 100, "failed", "It is locked.", step="remove_old_predictions")
    [fault] = found(well)
    assert (fault.severity, fault.sentence) == ("warning", "Maintenance failed at remove_old_predictions.")
    assert "It is locked." in fault.way_out
    ran(well, "maintain", 1, "done", step="remove_old_predictions")
    assert found(well) == []


def test_a_schedule_that_is_none_is_told(well: Engine) -> None:
    [fault] = found(well, predict_cron="99 * * * *")
    assert "predict_cron (99 * * * *)" in fault.sentence


def test_the_doctor_asks_this_too() -> None:
    assert check in checks.CHECKS
