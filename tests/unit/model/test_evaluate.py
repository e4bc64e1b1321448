"""Figures are what they say, come from rows that were not seen, and are refused where the data cannot bear them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import features
from appliance.errors import TrainingFailed
from model import evaluate
from model.data import TrainingData
from tests import small_models
from tests.profiles import changed, load


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_every_row_is_judged_once_by_a_forest_that_never_saw_it(name: str) -> None:
    data = small_models.training_data(load(name))
    found = evaluate.cross_validate(data, 4, 0, trees=8)
    assert found.probability.shape == data.targets.shape
    assert np.isfinite(found.probability).all()
    assert len(found.folds) == 4
    assert found.parity.rows == len(data.matrix)
    assert found.parity.verdict_differences == 0
    counted = found.at_threshold
    assert counted.true_alarms + counted.missed == data.failures
    assert counted.rows == len(data.matrix)
    limits = found.limits_alone
    assert limits is not None
    broken = features.limits_say(data.profile, data.featured)
    assert limits.true_alarms + limits.false_alarms == broken.sum()
    for figure in found.summary().values():
        assert 0 <= figure["mean"] <= 1
        assert 0 <= figure["std"] <= 0.5


def test_labels_dealt_out_anew_cannot_be_foreseen() -> None:
    """A model that could would have seen them."""
    data = small_models.training_data(load("milling"))
    order = np.random.default_rng(0).permutation(len(data.targets))
    dealt = TrainingData(
        data.profile, data.featured, data.matrix, data.targets[order], data.machines, data.files, (), 0
    )
    found = evaluate.cross_validate(dealt, 4, 0, trees=20).summary()
    assert abs(found["roc_auc"]["mean"] - 0.5) < 0.12


def test_group_folds_keep_a_machine_together() -> None:
    data = small_models.training_data(load("pump"))
    seen = []
    for train, test in evaluate._splits(data, 5, 0):
        assert not set(data.machines[train]) & set(data.machines[test])
        seen += test.tolist()
    assert sorted(seen) == list(range(len(data.matrix)))


def _only(data: TrainingData, keep: pl.Expr) -> TrainingData:
    return small_models.training_data(data.profile, small_models.rows(data.profile).filter(keep))


@pytest.mark.parametrize(
    ("name", "keep", "says"),
    [
        ("milling", ~pl.col("machine_failure"), "no failure"),
        ("milling", pl.col("machine_failure"), "no row without a failure"),
        ("pump", ~pl.col("failed"), "no failure"),
        ("pump", pl.col("_machine") == "P-01", "1 machine"),
        ("pump", ~pl.col("failed") | (pl.col("_machine") == "P-01"), "without a failure"),
    ],
)
def test_data_that_cannot_bear_the_folds_is_refused_in_one_sentence(name: str, keep: pl.Expr, says: str) -> None:
    data = _only(small_models.training_data(load(name)), keep)
    with pytest.raises(TrainingFailed) as caught:
        evaluate.cross_validate(data, 3, 0, trees=2)
    assert says in caught.value.message
    assert "\n" not in str(caught.value)


def test_recall_at_a_precision_is_the_best_that_keeps_it() -> None:
    failed = np.asarray([True, True, False, True, False, True])
    probability = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert evaluate.recall_at_precision(failed, probability, 0.9) == 0.5
    assert evaluate.recall_at_precision(failed, probability, 0.75) == 0.75
    assert evaluate.recall_at_precision(failed, probability, 0.6) == 1.0
    assert evaluate.recall_at_precision(~failed, probability, 0.99) == 0.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1).filter(lambda rows: any(f for f, _ in rows)))
def test_counts_and_costs(rows: list[tuple[bool, bool]]) -> None:
    failed, said = (np.asarray(column) for column in zip(*rows, strict=True))
    counts = evaluate.count(failed, said)
    assert counts.recall == said[failed].mean()
    assert counts.precision == (failed[said].mean() if said.any() else None)
    assert 0 <= counts.f1 <= 1
    profile = load("milling")
    missed, false = profile.costs.missed_failure, profile.costs.false_alarm
    cost = ((failed & ~said) * missed + (~failed & said) * false).sum() * 1000 / len(rows)
    assert counts.cost(profile) == pytest.approx(cost)


def test_what_decides_is_what_matters() -> None:
    data = small_models.training_data(load("pump"))
    decided = TrainingData(
        profile=data.profile,
        featured=data.featured,
        matrix=data.matrix,
        targets=np.column_stack([data.matrix[:, 2] == 1, np.zeros(len(data.matrix))]).astype(np.float64),
        machines=data.machines,
        files=data.files,
        issues=(),
        rows_without_label=0,
    )
    losses = evaluate.cross_validate(decided, 3, 0, trees=20).importance
    assert set(losses) == set(data.profile.model.inputs)
    assert losses["fluid"] > 0.3
    assert all(abs(loss) < 0.1 for name, loss in losses.items() if name != "fluid")


def test_without_binding_limits_there_is_nothing_to_compare_with() -> None:
    profile = changed("pump", 'mode = "bearing"\nall', 'mode = "bearing"\nadvisory = true\nall')
    found = evaluate.cross_validate(small_models.training_data(profile), 2, 0, trees=4)
    assert found.limits_alone is None
