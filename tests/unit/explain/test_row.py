"""Stored features become readings again: exactly, or it is said what was held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import features
from appliance.explain import row as rows
from appliance.profile import MACHINE, TIME
from tests import small_models
from tests.profiles import NAMES, changed, load
from tests.unit.explain.made import vector

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_stored_number_is_the_shortest_that_it_can_have_been(value: float) -> None:
    found = rows.plain(value)
    assert np.float32(found) == np.float32(value)
    assert rows.plain(float("nan")) is None
    assert rows.plain(None) is None


@given(st.integers(-(10**6), 10**6), st.integers(0, 3))
def test_what_a_machine_writes_in_six_digits_comes_back(number: int, decimals: int) -> None:
    written = number / 10**decimals
    assert rows.plain(float(np.float32(written))) == written


@pytest.mark.parametrize("name", NAMES)
def test_readings_and_features_come_back(name: str) -> None:
    profile = load(name)
    frame = small_models.rows(profile, 60)
    frame = frame.with_columns(pl.Series(MACHINE, [f"m{n}" for n in range(60)]))  # no row has a history
    whole = features.feature_frame(profile, frame)
    matrix = features.matrix_of(profile, whole)
    readings = [c.name for c in profile.with_role("reading")]
    for number in range(60):
        found = rows.of_features(profile, vector(matrix[number]), NOW)
        assert found.held == {}
        assert found.readings.select(readings).row(0) == frame.select(readings).row(number)
        again = found.featured(found.readings)
        np.testing.assert_array_equal(rows.vector_of(profile, again), matrix[number])
        derived = [feature.name for feature in profile.features]
        assert again.select(derived).row(0) == pytest.approx(whole.select(derived).row(number), rel=1e-12)


def test_windows_are_derived_again_from_what_the_machine_did_before() -> None:
    profile = load("pump")
    frame = small_models.rows(profile, 80)
    matrix = features.matrix(profile, frame)
    mine = np.flatnonzero(frame[MACHINE].to_numpy() == "P-03")
    stored = [(frame[TIME][int(n)], vector(matrix[n])) for n in mine]
    whole = features.feature_frame(profile, frame)
    for at in range(1, len(mine)):
        earlier = stored[max(0, at - profile.history_rows) : at][::-1]
        found = rows.of_features(profile, stored[at][1], stored[at][0], earlier)
        assert found.held == {}
        n = int(mine[at])
        assert found.featured(found.readings)["vibration_mean"].item() == pytest.approx(whole["vibration_mean"][n])
    lost = rows.of_features(profile, stored[-1][1], stored[-1][0], stored[3:5])
    assert set(lost.held) == {"vibration_mean", "pressure_change"}
    np.testing.assert_array_equal(rows.vector_of(profile, lost.featured(lost.readings)), matrix[mine[-1]])


def test_each_changed_row_sees_the_history_and_not_the_others() -> None:
    profile = load("pump")
    frame = small_models.rows(profile, 40).filter(pl.col(MACHINE) == "P-01")
    history, last = frame[:-1], frame[-1:]
    found = rows.of_readings(profile, last, history)
    many = found.featured(found.changed(("vibration", [1.0, 9.0, 3.0])))
    for value, mean in zip([1.0, 9.0, 3.0], many["vibration_mean"].to_list(), strict=True):
        single = last.with_columns(pl.lit(value).alias("vibration"))
        assert mean == pytest.approx(features.feature_frame(profile, single, history)["vibration_mean"].item())


def test_a_feature_of_a_reading_that_is_not_stored_is_held() -> None:
    """Without torque among the inputs, power and strain cannot be told from what is stored."""
    profile = changed("milling", '"speed", "torque", "tool_wear"', '"speed", "tool_wear"')
    frame = small_models.rows(profile, 5)
    matrix = features.matrix(profile, frame)
    found = rows.of_features(profile, vector(matrix[2]), NOW)
    assert set(found.held) == {"power", "strain"}
    assert found.readings["torque"].item() is None
    np.testing.assert_array_equal(rows.vector_of(profile, found.featured(found.readings)), matrix[2])


def test_more_digits_than_are_stored_leave_derived_features_as_they_were() -> None:
    profile = load("milling")
    frame = small_models.rows(profile, 1).with_columns(torque=pl.lit(42.123456789012), speed=pl.lit(1500.98765432))
    matrix = features.matrix(profile, frame)
    found = rows.of_features(profile, vector(matrix[0]), NOW)
    np.testing.assert_array_equal(rows.vector_of(profile, found.featured(found.readings)), matrix[0])


def test_long_windows_allow_fewer_changes_at_a_time() -> None:
    long = changed("pump", 'function = "mean", rows = 6', 'function = "mean", rows = 2000')
    frame = small_models.rows(long, 1)
    assert rows.of_readings(long, frame, None).most_changes * 2000 <= 61_000
    assert rows.of_readings(load("milling"), frame, None).most_changes > 10_000


def test_an_order_of_time_is_that_of_the_plant() -> None:
    profile = load("pump")
    frame = small_models.rows(profile, 1)
    late = [(NOW + timedelta(hours=1), vector(features.matrix(profile, frame)[0]))]
    found = rows.of_features(profile, vector(features.matrix(profile, frame)[0]), NOW, late)
    assert found.held == {}  # what was read later is in no window
