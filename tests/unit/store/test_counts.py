"""Predictions counted by hours and days of plant time, held against counting them one by one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from appliance.store import queries
from appliance.store.engine import transaction
from appliance.store.search import Bin, PredictionFilter
from appliance.store.writer import write_predictions
from tests import counts
from tests.unit.store import made
from tests.unit.store.test_queries import TIMES, every_row, filled, filters, fits  # noqa: F401 - a fixture


@example(PredictionFilter(), "day", "Europe/Berlin")
@example(PredictionFilter(from_=TIMES[2], failing=True), "hour", "Asia/Kathmandu")
@settings(max_examples=counts.examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=filters,
    by=st.sampled_from(["hour", "day"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_every_row_that_fits_is_counted_in_its_hour_or_day(
    filled: Engine,  # noqa: F811
    wanted: PredictionFilter,
    by: Bin,
    zone: str,
) -> None:
    expected: Counter[tuple[datetime, bool]] = Counter()
    with transaction(filled) as conn:
        found = queries.counts(conn, wanted, by, zone)
        for row in every_row(conn):
            if fits(row, wanted):
                local = row["predicted_at"].astimezone(ZoneInfo(zone)).replace(minute=0, second=0, microsecond=0)
                local = local if by == "hour" else local.replace(hour=0)
                expected[local.astimezone(UTC), row["failing"]] += 1
    told = {(row["at"], kind == "failing"): row[kind] for row in found for kind in ("passing", "failing") if row[kind]}
    assert told == dict(expected)
    assert [row["at"] for row in found] == sorted(row["at"] for row in found)


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
def test_a_day_on_which_clocks_change_is_one_day(engine: Engine, day: tuple[int, int, int], hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(*day, tzinfo=zone).astimezone(UTC)
    with transaction(engine) as conn:
        mills = made.plant(conn)
        for hour in range(hours):
            write_predictions(conn, made.batch(mills, 1, seed=hour), start + timedelta(hours=hour, minutes=30))
        by_day = queries.counts(conn, PredictionFilter(), "day", zone.key)
        by_hour = queries.counts(conn, PredictionFilter(), "hour", zone.key)
    assert [(row["at"], row["passing"] + row["failing"]) for row in by_day] == [(start, hours)]
    assert [row["passing"] + row["failing"] for row in by_hour] == [1] * hours
