from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from appliance import drift as pure
from appliance.names import DEMO
from appliance.store import drift, models, retention
from appliance.store.engine import transaction
from tests import profiles
from tests.unit.store import made
from tests.unit.store.made import Plant

NOW = datetime.now(UTC)


@pytest.fixture
def plant(engine: Engine) -> Plant:
    with transaction(engine) as conn:
        return made.plant(conn)


def bins(*names: str) -> list[pure.Bins]:
    rng = np.random.default_rng(4)
    return [pure.bins_of(name, rng.normal(size=500).astype(np.float32), -5, 5) for name in names]


def add(conn: Connection, plant: Plant, machines: Sequence[int], when: datetime = NOW, seed: int = 0) -> pure.Counts:
    """Ten rows for each of the machines, one of them outside; gives their counts."""
    laid = drift.bins(conn, plant.model_id)
    rows = np.random.default_rng(seed).normal(size=(10 * len(machines), len(laid))).astype(np.float32)
    counts = pure.count(laid, rows, np.repeat(np.arange(len(machines)), 10), len(machines))
    n = len(machines)
    drift.add(conn, plant.model_id, when, list(machines), [10] * n, [1] * n, counts)
    return counts


def test_bins_come_back_as_they_were_laid_down_and_stay(conn: Connection, plant: Plant) -> None:
    wanted = bins("torque", pure.SCORE)
    assert drift.bins(conn, plant.model_id) == []
    drift.keep_bins(conn, plant.model_id, wanted)
    drift.keep_bins(conn, plant.model_id, bins("speed", "torque", pure.SCORE)[:2])
    found = drift.bins(conn, plant.model_id)
    assert [one.name for one in found] == ["torque", pure.SCORE]
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine.edges == theirs.edges).all()
        assert (mine.groups == theirs.groups).all()
        assert (mine.reference == theirs.reference).all()
    places = "SELECT first FROM drift_reference ORDER BY position"
    assert list(conn.execute(text(places)).scalars()) == [1, 1 + len(wanted[0])]


def test_rows_of_a_day_add_up(conn: Connection, plant: Plant) -> None:
    drift.keep_bins(conn, plant.model_id, bins("torque", pure.SCORE))
    first = add(conn, plant, plant.machines)
    second = add(conn, plant, plant.machines[1:], seed=1)
    add(conn, plant, plant.machines[:1], NOW - timedelta(days=3), seed=2)
    rows = conn.execute(
        text("SELECT machine_id, rows, outside, counts FROM drift WHERE day = :day ORDER BY machine_id"),
        {"day": NOW.date()},
    ).all()
    assert [tuple(row[:3]) for row in rows] == [(plant.machines[0], 10, 1), (plant.machines[1], 20, 2)]
    assert rows[0].counts == first[0].tolist()
    assert rows[1].counts == (first[1] + second[0]).tolist()
    [recent] = drift.recent(conn, 2)
    assert (recent["profile"], recent["rows"], recent["outside"]) == ("milling", 30, 3)
    assert (recent["counts"] == first.sum(axis=0) + second[0]).all()


def test_what_is_rolled_back_was_never_counted(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        drift.keep_bins(conn, plant.model_id, bins("torque"))
        add(conn, plant, plant.machines)
    with pytest.raises(KeyboardInterrupt), transaction(engine) as conn:  # noqa: PT012
        add(conn, plant, plant.machines)
        raise KeyboardInterrupt
    with transaction(engine) as conn:
        assert conn.execute(text("SELECT sum(rows) FROM drift")).scalar_one() == 20


def test_two_that_count_for_the_same_machines_lose_nothing(engine: Engine, plant: Plant) -> None:
    def work(seed: int) -> None:
        with transaction(engine) as conn:
            drift.keep_bins(conn, plant.model_id, bins("torque", pure.SCORE))
            add(conn, plant, plant.machines, seed=seed)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    with transaction(engine) as conn:
        [recent] = drift.recent(conn, 1)
    assert recent["rows"] == 240
    assert int(recent["counts"].sum()) == 480


def test_simulated_machines_and_former_models_say_nothing_of_today(conn: Connection, plant: Plant) -> None:
    [simulated] = models.ensure_machines(conn, plant.profile_id, [f"{DEMO}mill"]).values()
    drift.keep_bins(conn, plant.model_id, bins("torque"))
    add(conn, plant, [*plant.machines, simulated])
    assert [one["rows"] for one in drift.recent(conn, 1)] == [20]
    models.ensure_model(conn, models.ensure_profile(conn, profiles.load("milling")), "v2", {}, True)
    assert drift.recent(conn, 1) == []


def test_counts_are_forgotten_by_age_and_with_their_machine(conn: Connection, plant: Plant) -> None:
    drift.keep_bins(conn, plant.model_id, bins("torque"))
    for days in (0, 5, 9):
        add(conn, plant, plant.machines, NOW - timedelta(days=days))
    assert retention.forget(conn, "drift", NOW - timedelta(days=5)) == 2
    conn.execute(text("DELETE FROM machine WHERE id = :id"), {"id": plant.machines[0]})
    assert conn.execute(text("SELECT count(*) FROM drift")).scalar_one() == 2
