"""What the doctor says of rows that are not what a model learned from, and of such that are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine

from appliance import drift as pure
from appliance.checks import Context, drift
from appliance.settings import Settings
from appliance.store import drift as store
from appliance.store import engine as engines
from tests.unit.store import made


def told(engine: Engine, rows: int, mean: float, *, outside: int = 0, days: int = 3) -> list[str]:
    """Rows of the last days whose torque is ``mean`` standard deviations away, and what the check says then."""
    rng = np.random.default_rng(5)
    reference = rng.normal(size=(1000, 2)).astype(np.float32)
    bins = [
        pure.bins_of("torque", reference[:, 0], -9, 9),
        pure.bins_of(pure.SCORE, reference[:, 1], -9, 9),
    ]
    came = rng.normal([mean, 0], 1, (rows, 2)).astype(np.float32)
    now = datetime.now(UTC)
    with engines.transaction(engine) as conn:
        plant = made.plant(conn)
        store.keep_bins(conn, plant.model_id, bins)
        counts = pure.count(bins, came, np.zeros(rows, dtype=np.int64), 1)
        store.add(conn, plant.model_id, now, plant.machines[:1], [rows], [outside], counts)
        for day in range(1, days):
            nothing = np.zeros_like(counts)
            store.add(conn, plant.model_id, now - timedelta(days=day), plant.machines[:1], [0], [0], nothing)
    return [fault.sentence for fault in drift.check(Context(Settings(), engine, None, now))]


def test_nothing_is_said_where_nothing_was_predicted(engine: Engine) -> None:
    assert drift.check(Context(Settings(), engine, None, datetime.now(UTC))) == []


@pytest.mark.parametrize(("rows", "mean"), [(3000, 0.0), (300, 0.0), (3000, 0.3), (pure.FEW_ROWS - 1, 5.0)])
def test_rows_as_usual_a_small_shift_and_few_rows_are_no_fault(engine: Engine, rows: int, mean: float) -> None:
    assert told(engine, rows, mean) == []


def test_a_feature_that_drifted_is_named_with_its_figure(engine: Engine) -> None:
    [sentence] = told(engine, 3000, 1.5)
    assert sentence.startswith("Rows of profile 'milling' are not what its model learned from: torque (PSI ")


def test_one_or_two_days_are_no_fault(engine: Engine) -> None:
    assert told(engine, 3000, 1.5, outside=3000, days=2) == []


def test_a_few_rows_beyond_what_training_saw_are_no_fault(engine: Engine) -> None:
    assert told(engine, 1000, 0.0, outside=49) == []


def test_five_in_a_hundred_rows_beyond_are_told(engine: Engine) -> None:
    assert told(engine, 1000, 0.0, outside=50) == [
        "5% of the rows of profile 'milling' lie outside of its model's range."
    ]
