"""What drift counts is what the predictions hold: every row of a file once, whatever broke off and was done again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from appliance import drift, drift_count, pipeline
from appliance.store import drift as store
from appliance.store import engine as engines
from appliance.store import parts
from model.plants import PLANTS, csv_bytes
from tests.road.conftest import Road

pytestmark = pytest.mark.usefixtures("api")


def demand_all_counted(road: Road) -> None:
    """The counts, held against a count over the stored predictions."""
    with engines.transaction(road.engine) as connection:
        for row in road.rows("SELECT model_id, machine_id, rows, outside, counts FROM drift"):
            bins = store.bins(connection, row["model_id"])
            found = road.rows(
                "SELECT features, probability, flags FROM prediction"
                " WHERE model_id = :model AND machine_id = :machine AND file_id IS NOT NULL",
                model=row["model_id"],
                machine=row["machine_id"],
            )
            matrix = np.array([[*one["features"], one["probability"]] for one in found], dtype=np.float32)
            counts = drift.count(bins, matrix, np.zeros(len(matrix), dtype=np.int64), 1)
            assert row["counts"] == counts[0].tolist()
            assert row["rows"] == len(matrix)
            assert row["outside"] == sum(one["flags"] & 2 == 2 for one in found)
    [told] = road.rows(
        "SELECT (SELECT coalesce(sum(rows), 0) FROM drift) AS counted,"
        " (SELECT count(*) FROM prediction WHERE file_id IS NOT NULL) AS predicted"
    )
    assert told["counted"] == told["predicted"] > 0


@pytest.mark.parametrize("plant", ["milling", "pump"])
def test_every_predicted_row_of_a_file_is_counted(road: Road, plant: str) -> None:
    machines = ("m-1", "m-2") if plant == "milling" else ("",)
    for number, machine in enumerate(machines):
        road.drop(plant, f"{number}.csv", csv_bytes(PLANTS[plant](), 160, seed=number), machine)
    road.ingest()
    road.predict()
    demand_all_counted(road)
    road.predict()
    demand_all_counted(road)


def test_a_part_that_breaks_off_after_the_count_is_counted_once(
    road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.drop("milling", "a.csv", mill, "m-1")
    road.ingest()
    mark, broken = parts.part_predicted, []

    def breaks(*args: Any) -> None:
        if not broken:
            broken.append(1)
            raise RuntimeError("the power went")
        mark(*args)

    monkeypatch.setattr("appliance.predict.parts.part_predicted", breaks)
    assert road.predict().failed == 1
    with engines.transaction(road.engine) as connection:
        connection.exec_driver_sql("UPDATE part SET next_try_at = now() - interval '1 s'")
    assert road.predict().failed == 0
    demand_all_counted(road)


def test_what_cannot_be_counted_is_predicted_all_the_same(
    road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise ValueError("no count")

    monkeypatch.setattr(drift_count.drift, "count", breaks)
    road.drop("milling", "a.csv", mill, "m-1")
    road.ingest()
    done = pipeline.predict(road.box)
    assert (done.rows, done.failed) == (160, 0)
    assert road.broken_promises() == []
    assert road.rows("SELECT * FROM drift") == []
