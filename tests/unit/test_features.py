from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import features
from appliance.profile import MACHINE, TIME
from tests.profiles import changed, load

START = datetime(2026, 3, 1, tzinfo=UTC)
MILL = {
    "type": "L",
    "air_temperature": 300.0,
    "process_temperature": 310.0,
    "speed": 1500.0,
    "torque": 40.0,
    "tool_wear": 10.0,
}


def _mills(**columns: list[object]) -> pl.DataFrame:
    rows = max((len(values) for values in columns.values()), default=1)
    return pl.DataFrame({name: columns.get(name, [value] * rows) for name, value in MILL.items()})


def _pumps(machines: list[str], minutes: list[int], vibration: list[float | None]) -> pl.DataFrame:
    count = len(machines)
    return pl.DataFrame(
        {
            MACHINE: machines,
            TIME: [START + timedelta(minutes=m) for m in minutes],
            "fluid": ["water"] * count,
            "temperature": [60.0] * count,
            "vibration": vibration,
            "pressure": [6.0] * count,
        },
        schema_overrides={TIME: pl.Datetime("us", "UTC"), "vibration": pl.Float64},
    )


def test_the_matrix_has_the_profiles_columns_in_order() -> None:
    profile = load("milling")
    matrix = features.matrix(profile, _mills())
    assert matrix.shape == (1, len(profile.matrix_names))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    row = dict(zip(profile.matrix_names, matrix[0].tolist(), strict=True))
    assert row["power"] == pytest.approx(40 * 1500 * 2 * math.pi / 60)
    assert row["temperature_difference"] == pytest.approx(10)
    assert row["strain"] == pytest.approx(400)


def test_categories_become_ranks_or_flags_and_unknown_ones_neither() -> None:
    ranks = features.matrix(load("milling"), _mills(type=["L", "M", "H", "X", None]))[:, 0]
    assert ranks[:4].tolist() == [0, 1, 2, features.UNKNOWN_CATEGORY]
    assert math.isnan(ranks[4])
    flagged = changed("milling", "ordered = true\n", "")
    assert flagged.matrix_names[:3] == ("type=L", "type=M", "type=H")
    assert features.matrix(flagged, _mills(type=["M", "X"]))[:, :3].tolist() == [[0, 1, 0], [0, 0, 0]]


@given(st.lists(st.sampled_from(["L", "M", "H", "X", "", None]), min_size=1, max_size=20))
def test_a_row_has_the_same_features_alone_and_among_many(types: list[object]) -> None:
    rows = _mills(type=types).with_columns(pl.col("type").cast(pl.String), torque=pl.lit(None, pl.Float64))
    for flags in (False, True):
        profile = changed("milling", "ordered = true", "ordered = false") if flags else load("milling")
        few = features.matrix(profile, rows)
        many = features.matrix(profile, pl.concat([rows] * 100))
        np.testing.assert_array_equal(np.tile(few, (100, 1)), many)


def test_limits_lie_on_the_documented_edge() -> None:
    """8.6 K is a limit that float32, or rounding to tenths, moves rows across."""
    profile = load("milling")
    rows = _mills(air_temperature=[302.3, 302.4], process_temperature=[310.9, 310.9], speed=[1379.0, 1379.0])
    # 310.9 - 302.3 is 8.599999999999966 in float64, below 8.6 as the data's authors computed it.
    assert features.limits_say(profile, features.feature_frame(profile, rows)).tolist() == [True, True]


def test_overstrain_depends_on_the_quality() -> None:
    profile = load("milling")
    rows = _mills(type=["L", "M", "H"], torque=[58.0] * 3, speed=[1400.0] * 3, tool_wear=[200.0] * 3)
    assert features.limits_say(profile, features.feature_frame(profile, rows)).tolist() == [True, False, False]


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 50), st.floats(0, 60)), min_size=1, max_size=40))
def test_windows_see_the_rows_of_their_machine_up_to_their_time(rows: list[tuple[str, int, float]]) -> None:
    profile = load("pump")
    machines, minutes, vibration = (list(column) for column in zip(*rows, strict=True))
    got = features.feature_frame(profile, _pumps(machines, minutes, vibration))["vibration_mean"].to_list()
    for at, (machine, minute, _) in enumerate(rows):
        # Rows of one instant keep the order in which they came.
        before = [(m, i) for i, (name, m, _) in enumerate(rows) if name == machine and (m, i) <= (minute, at)]
        last = [rows[i][2] for _, i in sorted(before)[-6:]]
        assert got[at] == pytest.approx(sum(last) / len(last), abs=1e-9)


@given(st.lists(st.floats(0, 60), min_size=2, max_size=30), st.data())
def test_history_stands_for_the_rows_that_came_before(vibration: list[float], data: st.DataObject) -> None:
    profile = load("pump")
    cut = data.draw(st.integers(1, len(vibration) - 1))
    rows = _pumps(["P-01"] * len(vibration), list(range(0, 10 * len(vibration), 10)), list(vibration))
    whole = features.matrix(profile, rows)
    history = rows[max(0, cut - profile.history_rows) : cut]
    np.testing.assert_allclose(features.matrix(profile, rows[cut:], history), whole[cut:], rtol=1e-6)


def test_a_missing_reading_is_nan_and_breaks_no_limit() -> None:
    profile = load("pump")
    rows = _pumps(["P-01"], [0], [None])
    assert math.isnan(features.matrix(profile, rows)[0][profile.matrix_names.index("vibration")])
    assert features.limits_say(profile, features.feature_frame(profile, rows)).tolist() == [False]
