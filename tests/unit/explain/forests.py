"""Small forests, written as ONNX by hand, and the plain meaning of an explanation: all coalitions, one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from appliance.onnx_gate import INPUT, OUTPUT
from appliance.scorer import MISSING_KEY, MISSING_TAKEN

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
# Few values, so that rows meet thresholds exactly, and each other.
VALUES = [-1.0, 0.0, 0.5, 1.0, 2.0]


@dataclass
class Tree:
    """``feature`` is None in a leaf."""

    feature: int | None = None
    threshold: float = 0.0
    mode: str = "BRANCH_LEQ"
    missing_true: bool = False
    children: tuple[Tree, Tree] | None = None  # true, false
    weights: tuple[float, ...] = (0.0, 0.0)


@dataclass
class Model:
    trees: list[Tree]
    features: int
    fill: list[float] | None = None  # an Imputer before the trees
    base: list[float] | None = None
    session: Any = field(init=False)

    def __post_init__(self) -> None:
        self.session = ort.InferenceSession(self.onnx())

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """The first output of ONNX Runtime."""
        (result,) = self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(rows, dtype=np.float32)})
        return np.asarray(result[:, 0], dtype=np.float64)

    def onnx(self) -> bytes:
        table: dict[str, list[Any]] = {name: [] for name in _NODES}
        targets: dict[str, list[Any]] = {name: [] for name in _TARGETS}
        for number, tree in enumerate(self.trees):
            _write(tree, number, itertools.count(), table, targets)
        trees = helper.make_node(
            "TreeEnsembleRegressor", ["filled" if self.fill else INPUT], [OUTPUT], domain="ai.onnx.ml", n_targets=2,
            **table, **targets, **({"base_values": self.base} if self.base else {}),
        )  # fmt: skip
        nodes = [trees]
        if self.fill:
            fill = {"imputed_value_floats": self.fill, "replaced_value_float": math.nan}
            nodes.insert(0, helper.make_node("Imputer", [INPUT], ["filled"], domain="ai.onnx.ml", **fill))
        graph = helper.make_graph(
            nodes,
            "forest",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", self.features])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 2])],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        if self.fill:
            model.metadata_props.add(key=MISSING_KEY, value=MISSING_TAKEN)
        data: bytes = model.SerializeToString()
        return data


_NODES = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
    "nodes_falsenodeids", "nodes_missing_value_tracks_true",
)  # fmt: skip
_TARGETS = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _write(tree: Tree, number: int, ids: Any, table: dict[str, list[Any]], targets: dict[str, list[Any]]) -> int:
    own = next(ids)
    at = len(table["nodes_nodeids"])
    leaf = tree.children is None
    values = (
        number,
        own,
        tree.feature or 0,
        tree.threshold,
        "LEAF" if leaf else tree.mode,
        0,
        0,
        int(tree.missing_true),
    )
    for name, value in zip(_NODES, values, strict=True):
        table[name].append(value)
    if tree.children is None:
        for output, weight in enumerate(tree.weights):
            for name, value in zip(_TARGETS, (number, own, output, weight), strict=True):
                targets[name].append(value)
    else:
        true, false = (_write(child, number, ids, table, targets) for child in tree.children)
        table["nodes_truenodeids"][at], table["nodes_falsenodeids"][at] = true, false
    return own


def brute_force(
    run: Callable[[NDArray[np.float32]], NDArray[np.float64]], row: NDArray[np.float32], background: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64]]:
    """The definition: base value and Shapley values, the worth of a coalition being the mean of the model over the
    background with the coalition's features taken from the row."""
    features = len(row)
    worth: dict[frozenset[int], float] = {}
    for size in range(features + 1):
        for members in itertools.combinations(range(features), size):
            mixed = background.copy()
            mixed[:, list(members)] = row[list(members)]
            worth[frozenset(members)] = float(run(mixed).mean())
    found = np.zeros(features)
    for feature in range(features):
        others = [f for f in range(features) if f != feature]
        for size in range(features):
            share = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for members in itertools.combinations(others, size):
                found[feature] += share * (worth[frozenset(members) | {feature}] - worth[frozenset(members)])
    return worth[frozenset()], found


def trees(features: int, depth: int = 4) -> st.SearchStrategy[Tree]:
    # Multiples of 2^-23 whose float32 sums are exact, as those of our forests.
    weights = st.integers(0, 2**16).map(lambda number: number * 2.0**-20)
    leaf = st.builds(Tree, weights=st.tuples(weights, weights))
    if depth == 0:
        return leaf
    below = trees(features, depth - 1)
    split = st.builds(
        Tree,
        feature=st.integers(0, features - 1),
        threshold=st.sampled_from(VALUES),
        mode=st.sampled_from(MODES),
        missing_true=st.booleans(),
        children=st.tuples(below, below),
    )
    return st.one_of(split, split, leaf)


def models(features: int) -> st.SearchStrategy[Model]:
    """Forests with ties, repeated features, constant trees, every way to compare, with an imputer or without."""
    fill = st.none() | st.lists(st.sampled_from(VALUES), min_size=features, max_size=features)
    base = st.none() | st.sampled_from([[0.25, 0.0], [0.5, 0.5]])
    return st.builds(
        Model, trees=st.lists(trees(features), min_size=1, max_size=4), features=st.just(features), fill=fill, base=base
    )


def matrices(features: int, rows: int) -> st.SearchStrategy[NDArray[np.float32]]:
    cell = st.sampled_from([*VALUES, math.nan])
    return st.lists(st.lists(cell, min_size=features, max_size=features), min_size=1, max_size=rows).map(
        lambda cells: np.array(cells, dtype=np.float32)
    )


def parsed(model: Model) -> onnx.ModelProto:
    return onnx.load_model_from_string(model.onnx())
