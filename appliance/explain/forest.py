"""A forest out of its ONNX form: each leaf as a box, which is all that an explanation needs to know of a tree.

Comparisons are those of ONNX Runtime: float32 against float32, and a missing value goes where the node sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from appliance.errors import BundleRefused
from appliance.onnx_gate import INPUT, OUTPUT

_UP, _DOWN = np.float32(np.inf), np.float32(-np.inf)
_LEAF = b"LEAF"
# For each way to compare: is the value of the node itself on the side of "true", and is that side below?
_SIDES = {b"BRANCH_LEQ": (True, True), b"BRANCH_LT": (False, True), b"BRANCH_GTE": (True, False), b"BRANCH_GT": (False, False)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forest:
    """L leaves that add something to the first output, and the C conditions of their boxes, leaf by leaf.

    A row of F features reaches a leaf where it meets all of the leaf's conditions: ``low <= value <= high``, and for a
    missing value ``missing``. A leaf has one condition a feature at most.
    """

    value: NDArray[np.float64]  # (L,)
    start: NDArray[np.intp]  # (L,): where the leaf's conditions begin; each leaf has at least one
    leaf: NDArray[np.intp]  # (C,)
    feature: NDArray[np.intp]  # (C,)
    low: NDArray[np.float32]  # (C,)
    high: NDArray[np.float32]  # (C,)
    missing: NDArray[np.bool_]  # (C,)
    constant: float  # what every row gets: trees of one leaf, and the base values
    replaced: np.float32 | None  # a value that stands for a missing one, NaN as a rule ...
    fill: NDArray[np.float32]  # ... and what the model puts in its place, (F,)

    def filled(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows (n, F) as the trees see them."""
        if self.replaced is None:
            return rows
        missing = np.isnan(rows) if np.isnan(self.replaced) else rows == self.replaced
        return np.where(missing, self.fill, rows)

    def fails(self, rows: NDArray[np.float32], first: int = 0, last: int | None = None) -> NDArray[np.bool_]:
        """Which of the conditions ``first`` to ``last`` (not included) rows (n, F), already filled, miss: (C, n)."""
        some = slice(first, last)
        values = rows.T[self.feature[some]]
        inside = (values >= self.low[some, None]) & (values <= self.high[some, None])
        inside |= np.isnan(values) & self.missing[some, None]
        return np.logical_not(inside, out=inside)


def read(model_bytes: bytes, features: int) -> Forest:
    """The forest of a verified model; BundleRefused("explain") where the model is another thing than a sum of trees."""
    *before, trees = onnx.load_model_from_string(model_bytes).graph.node
    nodes = [*before, trees]
    names = [INPUT, *(node.output[0] for node in nodes)]
    chained = all(list(node.input) == [name] for node, name in zip(nodes, names, strict=False))
    if not chained or names[-1] != OUTPUT or trees.op_type != "TreeEnsembleRegressor":
        raise _refused("is no forest")
    replaced, fill = _imputer(before, features)
    said = _attributes(trees)
    if said.get("post_transform", b"NONE") != b"NONE" or said.get("aggregate_function", b"SUM") != b"SUM":
        raise _refused("does more than add up its trees")
    return _boxes(said, replaced, fill)


def _imputer(nodes: list[Any], features: int) -> tuple[np.float32 | None, NDArray[np.float32]]:
    nothing = np.zeros(features, dtype=np.float32)
    if not nodes:
        return None, nothing
    said = _attributes(nodes[0])
    if len(nodes) > 1 or nodes[0].op_type != "Imputer" or "imputed_value_floats" not in said:
        raise _refused("is no forest")
    values = np.asarray(said["imputed_value_floats"], dtype=np.float32)
    return np.float32(said.get("replaced_value_float", 0.0)), np.broadcast_to(values, features)


def _boxes(said: Mapping[str, Any], replaced: np.float32 | None, fill: NDArray[np.float32]) -> Forest:
    nodes = _Nodes(said)
    value, constant = nodes.weights()
    reached = np.flatnonzero(nodes.is_leaf & (value != 0) & (nodes.parent >= 0))
    constant += float(value[nodes.is_leaf & (nodes.parent < 0)].sum())
    leaf, feature, low, high, missing = nodes.climb(reached)
    # The conditions of one leaf on one feature make one interval.
    order = np.lexsort((feature, leaf))
    leaf, feature = leaf[order], feature[order]
    begins = np.flatnonzero(_changes(leaf) | _changes(feature)) if len(leaf) else np.zeros(0, dtype=np.intp)
    if len(begins):
        low, high = np.maximum.reduceat(low[order], begins), np.minimum.reduceat(high[order], begins)
        missing = np.logical_and.reduceat(missing[order], begins)
    leaf, feature = leaf[begins], feature[begins]
    return Forest(
        value=value[reached],
        start=np.flatnonzero(_changes(leaf)),
        leaf=leaf,
        feature=feature,
        low=low,
        high=high,
        missing=missing,
        constant=constant,
        replaced=replaced,
        fill=fill,
    )


class _Nodes:
    """The nodes of all trees as one table, with the way up from each."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said
        tree, node = self._whole("nodes_treeids"), self._whole("nodes_nodeids")
        self._width = int(node.max()) + 1
        keys = tree * self._width + node
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        modes = np.asarray(said["nodes_modes"])
        self.is_leaf = modes == _LEAF
        if unknown := set(modes.tolist()) - {_LEAF, *_SIDES}:
            raise _refused(f"compares by {min(unknown).decode(errors='replace')}")
        inner = np.flatnonzero(~self.is_leaf)
        self.parent = np.full(len(modes), -1, dtype=np.intp)
        self._is_true = np.zeros(len(modes), dtype=np.bool_)
        for name, side in (("nodes_falsenodeids", False), ("nodes_truenodeids", True)):
            children = self._find(tree[inner], self._whole(name)[inner])
            self.parent[children] = inner
            self._is_true[children] = side
        self._feature = self._whole("nodes_featureids")
        self._value = np.asarray(said["nodes_values"], dtype=np.float32)
        self._goes_true = self._whole("nodes_missing_value_tracks_true", len(modes)).astype(np.bool_)
        self._within = np.isin(modes, [mode for mode, (within, _) in _SIDES.items() if within])
        self._below = np.isin(modes, [mode for mode, (_, below) in _SIDES.items() if below])

    def weights(self) -> tuple[NDArray[np.float64], float]:
        """What each node adds to the first output, and what is added whatever the row."""
        first = self._whole("target_ids") == 0
        weights = np.asarray(self._said["target_weights"], dtype=np.float64)[first]
        at = self._find(self._whole("target_treeids")[first], self._whole("target_nodeids")[first])
        base = self._said.get("base_values", [0.0])
        summed = np.bincount(at, weights=weights, minlength=len(self.parent))
        return np.asarray(summed, dtype=np.float64), float(base[0])

    def climb(self, leaves: NDArray[np.intp]) -> tuple[NDArray[Any], ...]:
        """Each step from the leaves to their roots: leaf (its place among ``leaves``), feature, low, high, missing."""
        steps, here, leaf = [], leaves, np.arange(len(leaves))
        while len(here):
            above = self.parent[here]
            going = above >= 0
            here, leaf, above = here[going], leaf[going], above[going]
            steps.append((leaf, self._feature[above], *self._condition(above, self._is_true[here])))
            here = above
        return tuple(np.concatenate(column) for column in zip(*steps, strict=True)) if steps else self._nothing()

    def _condition(
        self, node: NDArray[np.intp], is_true: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """The interval that one side of a node takes, both ends included, and whether it takes missing values."""
        value = self._value[node]
        below, with_value = self._below[node] == is_true, self._within[node] == is_true
        high = np.where(with_value, value, np.nextafter(value, _DOWN))
        low = np.where(with_value, value, np.nextafter(value, _UP))
        # A comparison with a missing value is false, unless the node says otherwise.
        return np.where(below, _DOWN, low), np.where(below, high, _UP), self._goes_true[node] == is_true

    def _find(self, tree: NDArray[np.int64], node: NDArray[np.int64]) -> NDArray[np.intp]:
        return self._order[np.searchsorted(self._keys, tree * self._width + node)]

    def _whole(self, name: str, zeros: int = 0) -> NDArray[np.int64]:
        return np.asarray(self._said.get(name) or [0] * zeros, dtype=np.int64)

    def _nothing(self) -> tuple[NDArray[Any], ...]:
        kinds = (np.intp, np.intp, np.float32, np.float32, np.bool_)
        return tuple(np.zeros(0, dtype=kind) for kind in kinds)


def _changes(values: NDArray[np.intp]) -> NDArray[np.bool_]:
    """True at the first of each run of equal values."""
    changes = np.ones(len(values), dtype=np.bool_)
    changes[1:] = values[1:] != values[:-1]
    return changes


def _attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _refused(what: str) -> BundleRefused:
    return BundleRefused(
        "explain", f"The model {what}, and cannot be explained.", "Train it again with `appliance model train`."
    )
