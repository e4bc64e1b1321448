"""The forest's ONNX form, and the proof that it is the same model: without the proof nothing is published.

A conversion that ends without an error proves nothing: some come out silently wrong. So scikit-learn and ONNX Runtime
have to agree on hold-out rows and on rows made to catch them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from appliance import features
from appliance.bundle_check import TOLERANCE
from appliance.errors import BundleRefused, TrainingFailed
from appliance.onnx_gate import INPUT, OUTPUT, inspect
from appliance.profile import Profile
from appliance.scorer import MISSING_KEY, MISSING_TAKEN, Scorer
from model.forest import Forest, may_be_missing

_OPSETS = {"": 17, "ai.onnx.ml": 3}
_SPLIT_BASES = 1000  # rows nearest to the threshold whose paths are walked
_SPLIT_PROBES = 60_000
_BASES = 60
_UNSEEN = "\N{REPLACEMENT CHARACTER}"
_EXTREME = 1e30  # beyond any reading, and sums of it are still float32


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the ONNX form was from scikit-learn, over all rows that were compared."""

    rows: int = 0
    max_abs_diff: float = 0.0
    verdict_differences: int = 0

    def __add__(self, other: Parity) -> Parity:
        return Parity(
            self.rows + other.rows,
            max(self.max_abs_diff, other.max_abs_diff),
            self.verdict_differences + other.verdict_differences,
        )


def convert(forest: Forest, profile: Profile) -> bytes:
    """The forest as ONNX: input ``features`` [N, F], output ``probabilities`` [N, 1 + M], both float32."""
    width, outputs = len(profile.matrix_names), 1 + len(profile.modes)
    model = convert_sklearn(
        forest.estimator, profile.name, [(INPUT, FloatTensorType([None, width]))], target_opset=_OPSETS
    )
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [OUTPUT if name == output.name else name for name in node.output]
    output.name = OUTPUT
    # The converter says one column, whatever the number of targets; ONNX Runtime would complain at every run.
    output.type.tensor_type.shape.dim[1].dim_value = outputs
    for value in (*model.graph.input, output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in _OPSETS.items())
    if forest.imputes:
        model.metadata_props.add(key=MISSING_KEY, value=MISSING_TAKEN)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def demand_parity(forest: Forest, model_bytes: bytes, profile: Profile, matrices: list[NDArray[np.float32]]) -> Parity:
    """Compare both forms on every row; TrainingFailed("parity") where they differ by more than the tolerance.

    The verdicts have to be the same on each row, without any tolerance.
    """
    try:
        inspect(model_bytes, profile)
        scorer = Scorer(model_bytes, profile)
        parity = sum((compare(forest, scorer, profile, matrix) for matrix in matrices), Parity())
    except BundleRefused as error:
        raise TrainingFailed("parity", f"Nothing was published: {error.message}", _WAY_OUT) from None
    if parity.max_abs_diff > TOLERANCE or parity.verdict_differences:
        raise TrainingFailed(
            "parity",
            f"Nothing was published: scikit-learn and ONNX differ by up to {parity.max_abs_diff:.1e} (at most "
            f"{TOLERANCE:g} is allowed), with {parity.verdict_differences:,} other verdicts in {parity.rows:,} rows.",
            _WAY_OUT,
        )
    return parity


def compare(forest: Forest, scorer: Scorer, profile: Profile, matrix: NDArray[np.float32]) -> Parity:
    wanted = forest.predict(matrix)
    scores = scorer.score(matrix)
    given = np.column_stack([scores.probability, scores.modes])
    verdicts = wanted[:, 0].astype(np.float32) >= np.float32(profile.threshold)
    difference = np.abs(given - wanted).max(initial=0.0)
    return Parity(len(matrix), float(difference), int((verdicts != scores.failing).sum()))


def probes(
    forest: Forest, profile: Profile, rows: pl.DataFrame, matrix: NDArray[np.float32], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Rows made to catch the two forms apart, by kind. ``rows`` are the validated rows behind ``matrix``.

    Splits: training rows nearest to the threshold, one feature moved onto a split that they pass and to the next
    float32 above it. Extremes: the ends of the contract's ranges, and far beyond. Unseen: categories that the profile
    does not know. Missing: each feature that may be, alone and all together.
    """
    distance = np.abs(forest.predict(matrix)[:, 0] - profile.threshold)
    nearest = np.argsort(distance, kind="stable")
    spread = np.random.default_rng(seed).permutation(len(matrix))
    bases = np.unique(np.concatenate([nearest[: _BASES // 2], spread[: _BASES // 2]]))
    some, some_rows = matrix[bases], rows[bases.tolist()]
    found = {
        "splits": _split_probes(forest, matrix[nearest[:_SPLIT_BASES]], seed),
        "extremes": np.concatenate([_range_probes(profile, some_rows), _each(some, range(some.shape[1]), _EXTREME),
                                    _each(some, range(some.shape[1]), -_EXTREME)]),
        "unseen": _unseen_probes(profile, some_rows),
    }  # fmt: skip
    missing = [number for number, may in enumerate(may_be_missing(profile)) if may]
    if missing:
        together = some.copy()
        together[:, missing] = np.nan
        found["missing"] = np.concatenate([_each(some, missing, np.nan), together])
    return {kind: kept for kind, made in found.items() if len(kept := _possible(profile, made))}


def _split_probes(forest: Forest, bases: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Base rows with the feature of a split that they pass set to the last float32 that goes left, and the next one."""
    filled = forest.filled(bases)
    row_numbers, feature_numbers, values = [], [], []
    for estimator in forest.trees:
        tree = estimator.tree_
        paths = tree.decision_path(filled).tocsc()
        passed = np.flatnonzero((np.diff(paths.indptr) > 0) & (tree.feature >= 0))
        paths.sort_indices()
        row_numbers.append(paths.indices[paths.indptr[passed]])  # the nearest to the threshold of those that pass
        feature_numbers.append(tree.feature[passed])
        values.append(_last_left(tree.threshold[passed]))
    row_number, feature = np.concatenate(row_numbers), np.concatenate(feature_numbers)
    left = np.concatenate(values)
    if len(left) > _SPLIT_PROBES // 2:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(left))[: _SPLIT_PROBES // 2])
        row_number, feature, left = row_number[chosen], feature[chosen], left[chosen]
    here, there = bases[row_number], bases[row_number]
    counted = np.arange(len(left))
    here[counted, feature] = left
    there[counted, feature] = np.nextafter(left, np.float32(np.inf))
    return np.concatenate([here, there])


def _last_left(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each threshold."""
    rounded = thresholds.astype(np.float32)
    above = rounded > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


def _range_probes(profile: Profile, rows: pl.DataFrame) -> NDArray[np.float32]:
    """Each numeric column at the ends of its range, and all of them at once: derived features follow."""
    numeric = [c for c in profile.columns if c.numeric and c.name in rows.columns]
    low = {c.name: c.minimum for c in numeric if c.minimum is not None}
    high = {c.name: c.maximum for c in numeric if c.maximum is not None}
    return _moved(profile, rows, [*({name: value} for ends in (low, high) for name, value in ends.items()), low, high])


def _unseen_probes(profile: Profile, rows: pl.DataFrame) -> NDArray[np.float32]:
    """Each category column with a word that the profile does not know, and with none."""
    names = [c.name for c in profile.columns if c.type == "category" and c.name in profile.model.inputs]
    return _moved(profile, rows, [{name: word} for name in names for word in (_UNSEEN, None)])


def _moved(
    profile: Profile, rows: pl.DataFrame, settings: Sequence[Mapping[str, float | str | None]]
) -> NDArray[np.float32]:
    made = [
        features.matrix(profile, rows.with_columns(pl.lit(v).cast(rows.schema[n]).alias(n) for n, v in setting.items()))
        for setting in settings
    ]
    return np.concatenate(made) if made else np.zeros((0, len(profile.matrix_names)), dtype=np.float32)


def _possible(profile: Profile, made: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without rows that no file can give: infinite features, and NaN where nothing may be missing."""
    possible = np.isfinite(made) | (np.isnan(made) & np.asarray(may_be_missing(profile)))
    kept: NDArray[np.float32] = made[possible.all(axis=1)]
    return kept


def _each(rows: NDArray[np.float32], columns: range | list[int], value: float) -> NDArray[np.float32]:
    """The rows once for each column, that column set to ``value``."""
    made = np.tile(rows, (len(columns), 1))
    for position, column in enumerate(columns):
        made[position * len(rows) : (position + 1) * len(rows), column] = value
    return made


_WAY_OUT = "Report it with the versions of scikit-learn, skl2onnx and onnxruntime; models before it keep serving."
