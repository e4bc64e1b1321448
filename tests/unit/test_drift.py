"""PSI and KS out of counts in bins, held against scipy's over the rows themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from appliance import drift
from tests import counts

Values = NDArray[np.float32]
readings = st.lists(
    st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(0, 5).map(float), st.just(math.nan)), min_size=1, max_size=400
).map(lambda found: np.array(found, dtype=np.float32))


def said(reference: Values, rows: Values, low: float = -math.inf, high: float = math.inf) -> drift.Drift:
    bins = drift.bins_of("x", reference, low, high)
    return drift.drift(bins, counted([bins], rows[:, None])[0])


def counted(
    bins: list[drift.Bins], rows: Values, of: NDArray[np.int64] | None = None, several: int = 1
) -> drift.Counts:
    return drift.count(bins, rows, np.zeros(len(rows), dtype=np.int64) if of is None else of, several)


def draw(n: int, mean: float = 0.0, seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(mean, 1, n).astype(np.float32)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the p-value that scipy adds
@settings(max_examples=counts.examples(200))
@given(reference=readings, rows=readings)
def test_the_ks_statistic_of_scipy_lies_between_both_bounds(reference: Values, rows: Values) -> None:
    here, there = rows[~np.isnan(rows)], reference[~np.isnan(reference)]
    found = said(reference, rows)
    assert found.rows == len(rows)
    assert found.missing == pytest.approx(np.isnan(rows).mean())
    if not len(here) or not len(there):
        assert (found.ks, found.ks_bound) == (0, 0)
        return
    wanted = stats.ks_2samp(here, there, method="asymp").statistic
    assert found.ks - 1e-9 <= wanted <= found.ks_bound + 1e-9


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.3, 2.0])
def test_the_ks_statistic_of_readings_is_known_to_a_bins_share(mean: float) -> None:
    found = said(draw(1000), draw(5000, mean, seed=1))
    wanted = stats.ks_2samp(draw(5000, mean, seed=1), draw(1000)).statistic
    assert found.ks <= wanted <= found.ks_bound <= found.ks + 0.05


def test_the_ks_statistic_of_categories_is_exact() -> None:
    dice = np.random.default_rng(3)
    reference = dice.choice(4, 900, p=[0.5, 0.3, 0.1, 0.1]).astype(np.float32)
    rows = dice.choice(4, 700, p=[0.2, 0.3, 0.2, 0.3]).astype(np.float32)
    assert said(reference, rows).ks == pytest.approx(stats.ks_2samp(rows, reference).statistic)


@pytest.mark.parametrize("mean", [0.0, 0.2, 1.0])
def test_psi_is_the_sum_over_tenths_of_the_reference(mean: float) -> None:
    """Written anew out of the definition, over np.histogram; entropy is Kullback and Leibler's, which PSI adds both ways."""
    reference, rows = draw(1000), draw(4000, mean, seed=1)
    cuts = np.sort(reference)[np.arange(100, 1000, 100) - 1]
    edges = np.concatenate([[-np.inf], np.nextafter(cuts, np.float32(np.inf)), [np.inf]])
    p, q = np.histogram(rows, edges)[0] + 0.5, np.histogram(reference, edges)[0] + 0.5
    assert said(reference, rows).psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-9)


def test_psi_of_categories_and_of_missing_values() -> None:
    reference = np.repeat(np.float32([0, 1, np.nan]), [60, 30, 10])
    rows = np.repeat(np.float32([0, 1, np.nan]), [20, 30, 50])
    p, q = np.array([20.5, 30.5, 50.5]), np.array([60.5, 30.5, 10.5])
    assert said(reference, rows).psi == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))


def test_chance_is_the_quantile_of_a_chi_square_variable() -> None:
    found = said(draw(1000), draw(4000, seed=1))
    assert found.chance == pytest.approx(stats.chi2.ppf(0.999, 9) * (1 / 4000 + 1 / 1000), rel=0.01)


def test_rows_of_the_same_source_cry_no_wolf_and_shifted_ones_do() -> None:
    same = [said(draw(1000, seed=n), draw(300, seed=9000 + n)) for n in range(1000)]
    assert sum(one.psi > one.chance for one in same) <= 5
    assert [one.level for one in same if one.level != "none"] == ["some"] * sum(one.psi > one.chance for one in same)
    assert said(draw(1000), draw(300, 1.0, seed=1)).level == "much"
    assert said(draw(1000), draw(5000, 0.4, seed=1)).level == "some"
    assert said(draw(1000), draw(drift.FEW_ROWS - 1, 3.0, seed=1)).level == "few"


@settings(max_examples=counts.examples(100))
@given(reference=readings, rows=readings, spread=st.floats(0, 10))
def test_outside_is_the_share_beyond_what_training_saw(reference: Values, rows: Values, spread: float) -> None:
    known = reference[~np.isnan(reference)]
    if not len(known):
        return
    low, high = np.float32(known.min() - spread), np.float32(known.max() + spread)
    wanted = ((rows < low) | (rows > high)).mean()
    assert said(reference, rows, float(low), float(high)).outside == pytest.approx(wanted)


@settings(max_examples=counts.examples(100))
@given(reference=readings, rows=readings, data=st.data())
def test_counts_of_machines_add_up_to_those_of_all(reference: Values, rows: Values, data: st.DataObject) -> None:
    of = np.array(data.draw(st.lists(st.integers(-1, 2), min_size=len(rows), max_size=len(rows))))
    bins = [drift.bins_of("x", reference), drift.bins_of("y", rows)]
    matrix = np.column_stack([rows, rows[::-1]])
    apart = counted(bins, matrix, of, 3)
    assert apart.shape == (3, sum(map(len, bins)))
    assert (apart.sum(axis=0) == counted(bins, matrix[of >= 0])[0]).all()
    assert [one.rows for one in drift.drifts(bins, apart.sum(axis=0))] == [int((of >= 0).sum())] * 2


@pytest.mark.parametrize("reference", [[], [math.nan] * 5, [7.0] * 5])
def test_a_reference_that_says_little_breaks_nothing(reference: list[float]) -> None:
    found = said(np.array(reference, dtype=np.float32), draw(400))
    assert all(map(math.isfinite, (found.psi, found.ks, found.ks_bound, found.outside, found.chance)))
