"""A model knows nothing but its features: not names, not labels, not the order of rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import features
from appliance.profile import MACHINE, ROW
from model import export, forest
from tests import counts, small_models
from tests.profiles import load


def _model(frame: pl.DataFrame) -> bytes:
    data = small_models.training_data(load("milling"), frame)
    return export.convert(forest.fit(data.profile, data.matrix, data.targets, 0, 6), data.profile)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return small_models.rows(load("milling"))


@pytest.mark.parametrize("column", ["udi", "product_id", "rnf", ROW, MACHINE])
def test_scrambled_names_numbers_and_bystanders_change_not_one_bit_of_the_model(
    frame: pl.DataFrame, column: str
) -> None:
    other = frame.with_columns(pl.col(column).shuffle(seed=3))
    if column == MACHINE:
        other = frame.with_columns(pl.format("mill-{}", pl.col(ROW)).alias(MACHINE))
    assert not other.equals(frame)
    assert _model(other) == _model(frame)


@pytest.mark.parametrize("columns", [["udi", "product_id"], ["rnf"]])
def test_columns_that_are_no_features_may_be_absent(frame: pl.DataFrame, columns: list[str]) -> None:
    assert _model(frame.drop(columns)) == _model(frame)


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_labels_and_modes_never_reach_the_matrix(name: str) -> None:
    profile = load(name)
    frame = small_models.rows(profile)
    told = [c.name for c in profile.with_role("label", "mode", "identifier", "context") if c.name in frame.columns]
    wanted = features.matrix(profile, frame)
    assert np.array_equal(features.matrix(profile, frame.drop(told)), wanted, equal_nan=True)
    flipped = frame.with_columns(~pl.col(c.name) for c in profile.with_role("label", "mode") if c.name in frame.columns)
    assert np.array_equal(features.matrix(profile, flipped), wanted, equal_nan=True)


@settings(max_examples=counts.examples(15))
@given(seed=st.integers(0, 2**32 - 1))
def test_a_row_is_judged_by_itself_whatever_stands_around_it(seed: int) -> None:
    data, model, _ = small_models.small_forest("milling")
    frame = small_models.rows(data.profile)
    order = np.random.default_rng(seed).permutation(frame.height)
    shuffled = model.predict(features.matrix(data.profile, frame[order.tolist()]))
    assert (shuffled == model.predict(data.matrix)[order]).all()
