"""The forest's arithmetic is exact, and it knows what may be missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor

from appliance import profile as profiles
from appliance.errors import TrainingFailed
from appliance.profile import Profile
from model import forest
from tests import counts, small_models
from tests.profiles import changed, load, text


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_probabilities_are_multiples_of_the_unit_and_sum_exactly_in_float32(name: str) -> None:
    data, model, _ = small_models.small_forest(name, trees=101)
    counted = model.predict(data.matrix) / forest.UNIT
    assert (counted == np.round(counted)).all()
    # Any order of float32 additions gives the same: the largest sum is below 2^24 units.
    shares = np.stack([tree.tree_.value[:, :, 0] / 101 for tree in model.trees if tree.tree_.node_count > 1][:1])
    assert (shares.astype(np.float32).astype(np.float64) == shares).all()


def test_rounding_moves_no_probability_by_more_than_half_a_unit_a_tree() -> None:
    data = small_models.training_data(load("milling"))
    training = data.profile.training
    plain = RandomForestRegressor(
        40, min_samples_leaf=training.leaf, max_features=training.features_per_split, random_state=0
    ).fit(data.matrix, data.targets)
    rounded = forest.fit(data.profile, data.matrix, data.targets, seed=0, trees=40)
    moved = np.abs(plain.predict(data.matrix) - rounded.predict(data.matrix)).max()
    assert 0 < moved <= 40 * forest.UNIT / 2


def test_probabilities_never_leave_zero_to_one() -> None:
    data = small_models.training_data(load("milling"))
    everything = np.ones_like(data.targets)
    for trees in (3, 7, 49, 127):
        predicted = forest.fit(data.profile, data.matrix, everything, seed=0, trees=trees).predict(data.matrix)
        assert predicted.max() <= 1
        assert predicted.min() > 1 - 1e-4


@settings(max_examples=counts.examples(5))
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_forest(seed: int) -> None:
    data = small_models.training_data(load("pump"))
    one, two = (forest.fit(data.profile, data.matrix, data.targets, seed, trees=4) for _ in range(2))
    assert (one.predict(data.matrix) == two.predict(data.matrix)).all()


def test_milling_features_are_never_missing_and_some_of_pumps_are() -> None:
    assert forest.may_be_missing(load("milling")) == (False,) * 9
    pump = dict(zip(load("pump").matrix_names, forest.may_be_missing(load("pump")), strict=True))
    assert pump == {**dict.fromkeys(pump, False), "temperature": True}


def _with_power(sql: str) -> Profile:
    return changed("milling", "torque * speed * 2 * pi() / 60", sql)


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("torque * speed", False),
        ("(torque - 1.5) * -speed + 2", False),
        ("torque / 60.0", False),
        ("torque / speed", True),
        ("torque / 0", True),
        ("torque / 0.0", True),
        ("torque / 2e-400", True),
        ("sqrt(torque)", True),
        ("ln(torque)", True),
        ("torque / (speed - 500)", True),
    ],
)
def test_sql_that_may_give_no_number_counts_as_missing(sql: str, missing: bool) -> None:
    profile = _with_power(sql)
    assert forest.may_be_missing(profile)[profile.matrix_names.index("power")] is missing


def test_sql_and_windows_over_empty_cells_may_be_missing() -> None:
    nullable = changed("milling", 'unit = "N.m"\n', 'unit = "N.m"\nnullable = true\n')
    missing = dict(zip(nullable.matrix_names, forest.may_be_missing(nullable), strict=True))
    assert {name for name, may in missing.items() if may} == {"torque", "power", "strain"}
    spread = changed("pump", 'function = "mean"', 'function = "std"')
    assert forest.may_be_missing(spread)[spread.matrix_names.index("vibration_mean")]
    over = profiles.parse(
        text("pump").replace('{ column = "vibration", function', '{ column = "temperature", function')
    )
    assert forest.may_be_missing(over)[over.matrix_names.index("vibration_mean")]


@pytest.mark.parametrize(("value", "refused"), [(np.inf, True), (-np.inf, True), (np.nan, True), (1e30, False)])
def test_features_that_are_no_finite_number_are_named(value: float, refused: bool) -> None:
    data = small_models.training_data(load("milling"))
    matrix = data.matrix.copy()
    matrix[3, data.profile.matrix_names.index("strain")] = value
    if not refused:
        forest.check_matrix(data.profile, matrix)
        return
    with pytest.raises(TrainingFailed) as caught:
        forest.check_matrix(data.profile, matrix)
    assert "strain" in caught.value.message
    assert "1 rows" in caught.value.message


def test_missing_is_allowed_where_the_profile_allows_it_and_a_column_may_be_all_missing() -> None:
    data = small_models.training_data(load("pump"))
    matrix = data.matrix.copy()
    matrix[:, 3] = np.nan
    forest.check_matrix(data.profile, matrix)
    model = forest.fit(data.profile, matrix, data.targets, seed=0, trees=4)
    assert np.isfinite(model.predict(matrix)).all()
