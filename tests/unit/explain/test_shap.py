"""Our contributions beside those of the package that made the method known, on forests as they are trained here.

Values are no round numbers here: the package compares in float32 with a threshold that was rounded to it, so that a value
just at a threshold may go to the other side than in scikit-learn and ONNX Runtime.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from appliance.explain import forest
from appliance.explain.shapley import Shapley
from appliance.profile import Profile
from appliance.scorer import Scorer
from model.export import convert
from model.forest import Forest, fit
from tests import small_models
from tests.profiles import NAMES, load


@pytest.fixture(scope="module")
def shap() -> Any:
    with warnings.catch_warnings():
        # It draws with an older way of its plotting library, and we do not draw.
        warnings.simplefilter("ignore")
        import shap as package
    return package


def theirs(shap: Any, estimator: Any, background: NDArray[Any], rows: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Base value and contributions to the first output, (rows, features)."""
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.TreeExplainer(estimator, masker, feature_perturbation="interventional")
    values = np.asarray(explainer.shap_values(rows)).reshape(len(rows), rows.shape[1], -1)
    return float(np.atleast_1d(explainer.expected_value)[0]), values[:, :, 0]


@pytest.mark.parametrize("targets", [1, 3])
def test_a_forest_of_many_targets(shap: Any, targets: int) -> None:
    """As our forests are made: several targets, derived features, leaves rounded; their own estimator is explained."""
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(600, 7)).astype(np.float32)
    matrix[:, 6] = matrix[:, 0] * matrix[:, 1]
    said = np.column_stack([matrix[:, 6] > 0.5, matrix[:, 2] > 1, matrix[:, 3] + matrix[:, 4] > 1.5]).astype(float)
    said[:, 0] = said.max(axis=1)
    estimator = RandomForestRegressor(20, min_samples_leaf=3, max_features=0.6, random_state=0)
    estimator.fit(matrix, said[:, :targets] if targets > 1 else said[:, 0])
    ours = Shapley(forest.read(convert(Forest(estimator), shaped(targets)), 7), matrix[:150])
    base, wanted = theirs(shap, estimator, matrix[:150], matrix[200:230])
    assert ours.base == pytest.approx(base, abs=1e-5)
    found = np.array([ours.contributions(row) for row in matrix[200:230]])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_profiles(shap: Any, name: str) -> None:
    data = small_models.training_data(load(name))
    profile, width = data.profile, data.matrix.shape[1]
    jitter = np.random.default_rng(1).normal(scale=0.01 * np.nanstd(data.matrix, axis=0), size=data.matrix.shape)
    matrix = (data.matrix + jitter).astype(np.float32)
    model = fit(profile, matrix, data.targets, seed=0, trees=20)
    filled = model.filled(matrix).astype(np.float64)
    estimator = model.estimator[-1] if model.imputes else model.estimator
    base, wanted = theirs(shap, estimator, filled[:100], filled[300:330])
    model_bytes = convert(model, profile)
    ours = Shapley(forest.read(model_bytes, width), matrix[:100])
    found = np.array([ours.contributions(row) for row in matrix[300:330]])
    assert ours.base == pytest.approx(base, abs=1e-3)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    scores = Scorer(model_bytes, profile).score(matrix[300:330])
    np.testing.assert_allclose(ours.base + found.sum(axis=1), scores.probability, atol=1e-6)


def shaped(targets: int) -> Profile:
    """A profile of seven features and so many targets: nothing else of it matters for a conversion."""
    mill = load("milling")
    return mill.model_copy(
        update={
            "model": mill.model.model_copy(update={"inputs": [c.name for c in mill.columns[2:8]] + ["power"]}),
            "modes": mill.modes[: targets - 1],
        }
    )
