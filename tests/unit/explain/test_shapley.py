"""Contributions are those of the definition, and add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.errors import BundleRefused
from appliance.explain import forest
from appliance.explain.shapley import Shapley
from tests import counts
from tests.unit.explain.forests import Model, Tree, brute_force, matrices, models

FEATURES = 4


def shapley(model: Model, background: NDArray[np.float32]) -> Shapley:
    return Shapley(forest.read(model.onnx(), model.features), background)


@settings(max_examples=counts.examples(40))
@given(model=models(FEATURES), row=matrices(FEATURES, 1), background=matrices(FEATURES, 6))
def test_it_is_the_definition(model: Model, row: NDArray[np.float32], background: NDArray[np.float32]) -> None:
    base, wanted = brute_force(model.run, row[0], background)
    found = shapley(model, background)
    assert found.base == pytest.approx(base, abs=1e-9)
    np.testing.assert_allclose(found.contributions(row[0]), wanted, atol=1e-9)


@settings(max_examples=counts.examples(60))
@given(model=models(6), rows=matrices(6, 8), background=matrices(6, 20))
def test_base_and_contributions_add_up_to_what_onnx_runtime_gives(
    model: Model, rows: NDArray[np.float32], background: NDArray[np.float32]
) -> None:
    found = shapley(model, background)
    assert found.base == pytest.approx(model.run(background).mean(), abs=1e-12)
    for row, output in zip(rows, model.run(rows), strict=True):
        assert found.base + found.contributions(row).sum() == pytest.approx(output, abs=1e-12)


@settings(max_examples=counts.examples(25))
@given(model=models(3), row=matrices(3, 1), background=matrices(3, 5))
def test_a_feature_that_no_tree_asks_for_adds_nothing(
    model: Model, row: NDArray[np.float32], background: NDArray[np.float32]
) -> None:
    def wider(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.column_stack([rows, np.full(len(rows), 7, dtype=np.float32)])

    wide = Model(model.trees, 4, [*model.fill, 0.0] if model.fill else None, model.base)
    found = shapley(wide, wider(background)).contributions(wider(row)[0])
    assert found[3] == 0
    np.testing.assert_allclose(found[:3], shapley(model, background).contributions(row[0]), atol=1e-12)


def test_features_that_do_the_same_share_alike() -> None:
    """Symmetry: the same question about either feature, the same values in both."""
    leaf = [Tree(weights=(w, 0.0)) for w in (0.0, 0.25, 0.25, 1.0)]
    tree = Tree(0, 0.5, children=(Tree(1, 0.5, children=(leaf[0], leaf[1])), Tree(1, 0.5, children=(leaf[2], leaf[3]))))
    background = np.array([[0, 0], [1, 1]], dtype=np.float32)
    a, b = shapley(Model([tree], 2), background).contributions(np.array([2, 2], dtype=np.float32))
    assert a == b == pytest.approx(0.25)


def test_constant_trees_and_leaves_of_nothing_explain_nothing() -> None:
    background = np.zeros((3, 2), dtype=np.float32)
    constant = shapley(Model([Tree(weights=(0.25, 0.5)), Tree(weights=(0.5, 0.0))], 2), background)
    assert constant.base == 0.75
    assert constant.contributions(np.ones(2, dtype=np.float32)).tolist() == [0.0, 0.0]
    nothing = shapley(
        Model([Tree(0, 0.5, children=(Tree(weights=(0.0, 1.0)), Tree(weights=(0.0, 1.0))))], 2), background
    )
    assert nothing.base == 0.0
    assert nothing.contributions(np.ones(2, dtype=np.float32)).tolist() == [0.0, 0.0]


@settings(max_examples=counts.examples(15))
@given(model=models(3), background=matrices(3, 30), most=st.integers(1, 2000))
def test_a_smaller_background_is_taken_where_the_forest_is_very_large(
    model: Model, background: NDArray[np.float32], most: int
) -> None:
    read = forest.read(model.onnx(), 3)
    found = Shapley(read, background, most_pairs=most)
    assert found.rows == len(background)  # fewer than the least that is taken
    many = np.repeat(background, 20, axis=0)
    fewer = Shapley(read, many, most_pairs=most)
    assert min(len(many), 100) <= fewer.rows <= len(many)
    row = background[0]
    assert fewer.base + fewer.contributions(row).sum() == pytest.approx(model.run(row[None])[0], abs=1e-9)


def test_a_path_through_more_features_than_can_be_told_apart_is_refused() -> None:
    tree = Tree(weights=(0.5, 0.0))
    for feature in range(65):
        tree = Tree(feature, 0.5, children=(tree, Tree(weights=(0.25, 0.0))))
    with pytest.raises(BundleRefused) as refused:
        shapley(Model([tree], 65), np.zeros((2, 65), dtype=np.float32))
    assert refused.value.reason == "explain"
    assert refused.value.way_out


def test_a_path_through_as_many_as_can_be_told_apart_is_not() -> None:
    tree = Tree(weights=(0.5, 0.0))
    for feature in range(64):
        tree = Tree(feature, 0.5, children=(tree, Tree(weights=(0.25, 0.0))))
    model = Model([tree], 64)
    found = shapley(model, np.ones((2, 64), dtype=np.float32))
    row = np.zeros(64, dtype=np.float32)
    assert found.base + found.contributions(row).sum() == pytest.approx(0.5)
