"""What is read out of an ONNX file, and what is refused because it is no sum of trees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from onnx import helper

from appliance.errors import BundleRefused
from appliance.explain import forest
from tests import counts
from tests.unit.explain.forests import Model, Tree, matrices, models, parsed

STUMP = Tree(0, 0.5, children=(Tree(weights=(0.25, 0.0)), Tree(weights=(0.75, 0.0))))


@settings(max_examples=counts.examples(60))
@given(model=models(4), rows=matrices(4, 10))
def test_a_row_reaches_the_leaves_whose_conditions_it_meets(model: Model, rows: NDArray[np.float32]) -> None:
    read = forest.read(model.onnx(), 4)
    fails = read.fails(read.filled(rows))
    total = np.full(len(rows), read.constant)
    for leaf, value in enumerate(read.value):
        total += value * ~fails[read.leaf == leaf].any(axis=0)
    np.testing.assert_allclose(total, model.run(rows), atol=1e-12)
    assert set(read.leaf[read.start]) == set(range(len(read.value)))
    assert len({*zip(read.leaf.tolist(), read.feature.tolist(), strict=True)}) == len(read.leaf)


def changed(change: Callable[[onnx.ModelProto], None], model: Model | None = None) -> bytes:
    proto = parsed(model or Model([STUMP], 2))
    change(proto)
    data: bytes = proto.SerializeToString()
    return data


def attribute(proto: onnx.ModelProto, name: str, value: object) -> None:
    node = proto.graph.node[-1]
    kept = [known for known in node.attribute if known.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: attribute(p, "post_transform", "LOGISTIC"), "does more than add up its trees"),
        (lambda p: attribute(p, "aggregate_function", "MAX"), "does more than add up its trees"),
        (lambda p: attribute(p, "nodes_modes", ["BRANCH_NEQ", "LEAF", "LEAF"]), "compares by BRANCH_NEQ"),
        (lambda p: setattr(p.graph.node[-1], "op_type", "TreeEnsembleClassifier"), "is no forest"),
        (lambda p: p.graph.node[-1].input.__setitem__(0, "elsewhere"), "is no forest"),
        (lambda p: p.graph.node[-1].output.__setitem__(0, "elsewhere"), "is no forest"),
        (lambda p: p.graph.node.insert(0, helper.make_node("Scaler", ["features"], ["scaled"])), "is no forest"),
    ],
)
def test_what_is_no_sum_of_trees_is_refused(change: Callable[[onnx.ModelProto], None], said: str) -> None:
    with pytest.raises(BundleRefused) as refused:
        forest.read(changed(change), 2)
    assert refused.value.code == "bundle.explain"
    assert said in refused.value.message
    assert refused.value.way_out


def test_another_step_before_the_trees_is_refused() -> None:
    def scale_first(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].op_type = "Scaler"

    with pytest.raises(BundleRefused):
        forest.read(changed(scale_first, Model([STUMP], 2, fill=[0.0, 0.0])), 2)


def test_one_value_may_fill_all_features() -> None:
    read = forest.read(Model([STUMP], 2, fill=[1.0]).onnx(), 2)
    rows = np.array([[np.nan, np.nan], [3, 4]], dtype=np.float32)
    assert read.filled(rows).tolist() == [[1, 1], [3, 4]]
