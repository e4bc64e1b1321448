"""The estimator: one forest for the probability of failure and of each mode.

A regression forest on 0/1 targets averages the shares of its leaves, which is the same estimate that a classifier gives,
for all targets at once. Where features can be missing, their medians stand in for them: a forest on NaN itself comes
out silently wrong in ONNX.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeRegressor

from appliance.errors import TrainingFailed
from appliance.profile import Column, Feature, Profile

# Contributions of leaves are multiples of this: as long as they add up to less than 2, float32 sums of them are exact in
# any order, so that scikit-learn and ONNX Runtime agree to the last bit, a row alone and a row among others too.
UNIT = 2.0**-23

# SQL that gives a number for every row of numbers: sums and products of columns, and division by a literal.
_TOTAL_SQL = re.compile(r"[a-z0-9_.\s()+*-]*")
_DIVISION_BY_LITERAL = re.compile(r"/\s*(?=[0-9.]*[1-9])[0-9.]+(?![0-9.a-z_])")


class Forest:
    """A fitted forest. ``predict`` gives what its ONNX form has to give."""

    def __init__(self, estimator: RandomForestRegressor | Pipeline) -> None:
        self.estimator = estimator

    @property
    def trees(self) -> list[DecisionTreeRegressor]:
        return list(_forest_of(self.estimator).estimators_)

    @property
    def imputes(self) -> bool:
        return isinstance(self.estimator, Pipeline)

    def filled(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """The matrix as the trees see it, float32."""
        return self.estimator[:-1].transform(matrix).astype(np.float32) if self.imputes else matrix

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of failure and of each mode, shape (rows, 1 + modes)."""
        # Rounded leaves may add up to a little more than 1.
        return np.asarray(self.estimator.predict(matrix), dtype=np.float64).reshape(len(matrix), -1).clip(0.0, 1.0)


def fit(
    profile: Profile, matrix: NDArray[np.float32], targets: NDArray[np.float64], seed: int, trees: int | None = None
) -> Forest:
    """Fit on rows (rows, features) and 0/1 targets (rows, 1 + modes), as the profile's ``[training]`` says."""
    training = profile.training
    forest = RandomForestRegressor(
        trees or training.trees,
        min_samples_leaf=training.leaf,
        max_features=training.features_per_split,
        random_state=seed,
        n_jobs=-1,
    )
    imputes = any(may_be_missing(profile))
    estimator = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), forest) if imputes else forest
    estimator.fit(matrix, targets if targets.shape[1] > 1 else targets[:, 0])
    _round_leaves(forest)
    return Forest(estimator)


def check_matrix(profile: Profile, matrix: NDArray[np.float32]) -> None:
    """TrainingFailed where a feature is infinite, or missing although nothing in the profile lets it be."""
    for number, (name, missing_allowed) in enumerate(zip(profile.matrix_names, may_be_missing(profile), strict=True)):
        column = matrix[:, number]
        wrong = np.isinf(column) if missing_allowed else ~np.isfinite(column)
        if wrong.any():
            raise TrainingFailed(
                "feature",
                f"Feature {name!r} is no finite number in {int(wrong.sum()):,} rows.",
                "Mend its sql or the ranges of its columns in the profile.",
            )


def may_be_missing(profile: Profile) -> tuple[bool, ...]:
    """For each of ``profile.matrix_names``: can a row that passed the contract lack it?"""
    missing: list[bool] = []
    for name in profile.model.inputs:
        source = profile.feature(name)
        if isinstance(source, Column) and source.type == "category" and not source.ordered:
            missing += [False] * len(source.categories)  # an empty cell is none of the categories
        else:
            missing.append(_may_be_missing(profile, source))
    return tuple(missing)


def _may_be_missing(profile: Profile, source: Column | Feature) -> bool:
    if isinstance(source, Column):
        return source.nullable
    if source.window is not None:
        # The first reading of a machine has no spread.
        return source.window.function == "std" or _column_may_be_missing(profile, source.window.column)
    sql = _DIVISION_BY_LITERAL.sub("", (source.sql or "").replace("pi()", "1"))
    if not _TOTAL_SQL.fullmatch(sql):
        return True
    words = re.findall(r"[a-z_][a-z0-9_]*", sql)
    return any(word not in _names(profile) or _column_may_be_missing(profile, word) for word in words)


def _column_may_be_missing(profile: Profile, name: str) -> bool:
    column = profile.column(name)
    return column.nullable or not column.required


def _names(profile: Profile) -> set[str]:
    return {column.name for column in profile.columns}


def _round_leaves(forest: RandomForestRegressor) -> None:
    step = UNIT * len(forest.estimators_)
    for tree in forest.estimators_:
        shares = tree.tree_.value  # a view: writing changes the tree
        shares[...] = np.round(shares / step) * step


def _forest_of(estimator: RandomForestRegressor | Pipeline) -> RandomForestRegressor:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator
