"""The scorer gives what the forest gives, for a row alone and among others, from one thread and from many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import BundleRefused
from appliance.scorer import Scorer
from tests import counts, small_models
from tests.profiles import load


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_shapes_types_and_ranges(name: str) -> None:
    data, model, model_bytes = small_models.small_forest(name)
    scores = Scorer(model_bytes, data.profile).score(data.matrix)
    assert scores.probability.dtype == scores.modes.dtype == np.float32
    assert scores.probability.shape == scores.failing.shape == (len(data.matrix),)
    assert scores.modes.shape == (len(data.matrix), len(data.profile.modes))
    assert ((scores.modes >= 0) & (scores.modes <= 1)).all()
    assert (np.column_stack([scores.probability, scores.modes]) == model.predict(data.matrix)).all()
    assert (scores.failing == (scores.probability >= np.float32(data.profile.threshold))).all()
    assert 0 < scores.failing.sum() < len(data.matrix)


@given(cuts=st.lists(st.integers(0, 800), max_size=6), threads=st.integers(1, 2))
@settings(max_examples=counts.examples(40))
def test_a_row_scores_the_same_in_any_company(cuts: list[int], threads: int) -> None:
    data, _, model_bytes = small_models.small_forest("milling", trees=101)  # enough trees to be shared among threads
    scorer = Scorer(model_bytes, data.profile, threads=threads)
    whole = scorer.score(data.matrix)
    parts = [scorer.score(part) for part in np.split(data.matrix, sorted(cuts))]
    assert (np.concatenate([part.probability for part in parts]) == whole.probability).all()
    assert (np.concatenate([part.modes for part in parts]) == whole.modes).all()
    assert scorer.score(data.matrix[7:8]).probability[0] == whole.probability[7]


def test_threads_share_a_scorer() -> None:
    data, _, model_bytes = small_models.small_forest("milling", trees=101)
    scorer = Scorer(model_bytes, data.profile)
    wanted = scorer.score(data.matrix).probability
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: scorer.score(data.matrix).probability, range(64)):
            assert (found == wanted).all()


def test_the_threshold_itself_fails() -> None:
    data, _, model_bytes = small_models.small_forest("milling")
    probability = Scorer(model_bytes, data.profile).score(data.matrix).probability
    some = float(np.sort(probability[(probability > 0.2) & (probability < 0.8)])[3])
    profile = small_models.with_threshold(data.profile, some)
    scores = Scorer(model_bytes, profile).score(data.matrix)
    assert np.float32(profile.threshold) == np.float32(some)
    assert scores.failing[probability == np.float32(some)].all()
    assert not scores.failing[probability < np.float32(some)].any()


def test_no_rows_have_no_scores() -> None:
    data, _, model_bytes = small_models.small_forest("milling")
    scores = Scorer(model_bytes, data.profile).score(data.matrix[:0])
    assert scores.probability.shape == scores.failing.shape == (0,)
    assert scores.modes.shape == (0, 4)


def test_another_shape_or_type_is_a_mistake_of_the_caller() -> None:
    data, _, model_bytes = small_models.small_forest("milling")
    scorer = Scorer(model_bytes, data.profile)
    wrong: list[Any] = [data.matrix[:, 1:], data.matrix[0], data.matrix.astype(np.float64)]
    for matrix in wrong:
        with pytest.raises(ValueError, match="float32"):
            scorer.score(matrix)


def test_missing_features_are_taken_only_by_a_model_that_learned_them() -> None:
    pump, model, pump_bytes = small_models.small_forest("pump")
    missing = pump.matrix.copy()
    missing[:, 3] = np.nan
    scores = Scorer(pump_bytes, pump.profile).score(missing)
    assert (scores.probability == model.predict(missing)[:, 0]).all()
    mill, _, mill_bytes = small_models.small_forest("milling")
    missing = mill.matrix.copy()
    missing[5, 2] = np.nan
    with pytest.raises(BundleRefused) as caught:
        Scorer(mill_bytes, mill.profile).score(missing)
    assert caught.value.reason == "nan"


def test_what_onnx_runtime_cannot_load_is_refused_in_one_line() -> None:
    with pytest.raises(BundleRefused) as caught:
        Scorer(b"no model", load("milling"))
    assert caught.value.reason == "onnx"
    assert "\n" not in str(caught.value)
