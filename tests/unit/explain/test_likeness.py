from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.explain.likeness import Case, Space
from tests import counts

NAMES = ["a", "b", "c"]


def space(rows: int = 300, seed: int = 0) -> tuple[Space, NDArray[np.float32]]:
    reference = np.random.default_rng(seed).normal([0, 100, 5], [1, 20, 0.1], (rows, 3)).astype(np.float32)
    return Space(NAMES, reference, np.array([1.0, 20.0, 0.1])), reference


def test_a_row_of_training_is_at_home_and_a_strange_combination_is_not() -> None:
    draw = np.random.default_rng(1)
    together = draw.normal(size=400)
    reference = np.column_stack([together, together + draw.normal(scale=0.1, size=400)]).astype(np.float32)
    made = Space(["a", "b"], reference, np.ones(2))
    assert made.from_training(reference[7]) == pytest.approx(0, abs=1e-6)
    # Each value is usual; training never had them together.
    assert made.from_training(np.array([1.5, -1.5], dtype=np.float32)) > made.usual
    assert made.from_training(np.array([0.5, 0.5], dtype=np.float32)) < made.usual


@settings(max_examples=counts.examples(50))
@given(st.lists(st.lists(st.floats(-300, 300, width=32) | st.just(float("nan")), min_size=3, max_size=3), max_size=12))
def test_the_nearest_cases_are_the_nearest(cells: list[list[float]]) -> None:
    made, reference = space()
    cases = [Case(dict(zip(NAMES, row, strict=True)), {"number": n}) for n, row in enumerate(cells)]
    found = made.nearest(reference[0], cases, 5)
    mean = reference.astype(np.float64).mean(axis=0)

    def far(row: list[float]) -> float:
        known = np.where(np.isnan(row), mean, row)
        return float(np.sqrt((((known - reference[0]) / [1.0, 20.0, 0.1]) ** 2).mean()))

    wanted = sorted(far(row) for row in cells)[:5]
    assert [distance for distance, _ in found] == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    assert len({case.told["number"] for _, case in found}) == len(found)


def test_cases_of_a_model_with_other_features_are_left_out() -> None:
    made, reference = space()
    here = Case({"a": 0.0, "b": None, "c": 5.0, "more": 1.0}, {})
    found = made.nearest(reference[0], [Case({"a": 0.0, "b": 1.0}, {}), here], 5)
    assert [case for _, case in found] == [here]
    assert made.nearest(reference[0], [], 5) == []


def test_one_row_of_training_says_nothing_about_what_is_usual() -> None:
    made, reference = space(1)
    assert made.usual == float("inf")
    assert made.from_training(reference[0]) == 0


def test_what_training_never_knew_counts_as_nothing() -> None:
    reference = np.full((5, 2), np.nan, dtype=np.float32)
    made = Space(["a", "b"], reference, np.ones(2))
    assert made.from_training(np.array([np.nan, 3.0], dtype=np.float32)) == pytest.approx(np.sqrt(4.5))
