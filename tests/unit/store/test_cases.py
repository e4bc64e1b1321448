"""What the past tells: rows before a row, cases whose end is known, and how alarms turned out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from appliance.store import alarms, cases, outcomes, queries, writer
from tests.unit.store import made
from tests.unit.store.made import Plant

NOW = datetime(2026, 11, 23, 5, 30, tzinfo=UTC)
FEATURES = {"a": 1.5, "b": None}
NOTHING = {"right": 0, "false": 0, "planned": 0, "unanswered": 0, "open": 0, "missed": 0}


@pytest.fixture
def plant(conn: Connection) -> Plant:
    return made.plant(conn, machines=("M-1", "M-2", "demo-M-3"))


def opened(conn: Connection, machine: int, prediction: int | None = None, at: datetime = NOW) -> int:
    return alarms.open_alarm(conn, machine, at, 3, 0.5, prediction, {"text": "hot"})


def told(conn: Connection, machine: int, kind: Any, at: datetime = NOW, **more: Any) -> int:
    predicted = {"prediction_id": 7, "probability": 0.5, "features": FEATURES}
    return alarms.record_outcome(conn, machine, at, kind, "ann", **{"predicted": predicted, **more})


def test_a_machine_is_found_by_its_profile_and_name(conn: Connection, plant: Plant) -> None:
    assert cases.machine_id(conn, "milling", "M-1") == plant.machines[0]
    assert cases.machine_id(conn, "pump", "M-1") is None
    assert cases.machine_id(conn, "milling", "M-9") is None


def test_rows_before_a_row_are_those_of_its_machine_newest_first(conn: Connection, plant: Plant) -> None:
    batch = made.batch(plant, 40)
    first, _ = writer.write_predictions(conn, batch)
    mine = [first + int(n) for n in np.flatnonzero(batch.machine_ids == plant.machines[0])]
    last = queries.prediction(conn, mine[-1])
    found = cases.earlier(conn, last, 5, features=True)
    assert [row["id"] for row in found] == mine[-2:-7:-1]
    for row in found:
        assert row["features"] == pytest.approx(batch.features[row["id"] - first].tolist())
    assert "features" not in cases.earlier(conn, last, 1, features=False)[0]
    assert cases.earlier(conn, queries.prediction(conn, mine[0]), 5, features=True) == []


def test_missing_features_are_none(conn: Connection, plant: Plant) -> None:
    features = np.array([[np.nan, 1.0], [2.0, 3.0]], dtype=np.float32)
    machines = np.full(2, plant.machines[0], dtype=np.int32)
    first, _ = writer.write_predictions(conn, made.batch(plant, 2, features=features, machine_ids=machines))
    (row,) = cases.earlier(conn, queries.prediction(conn, first + 1), 5, features=True)
    assert row["features"] == [None, 1.0]


def test_cases_hold_what_became_of_a_row(conn: Connection, plant: Plant) -> None:
    told(conn, plant.machines[0], "false_alarm", note="nothing", alarm_id=opened(conn, plant.machines[0]))
    told(conn, plant.machines[1], "failure")
    told(conn, plant.machines[1], "failure", predicted=None)
    told(conn, plant.machines[2], "planned_work")
    found = cases.told(conn, "milling", simulated=False)
    assert [(case["became"], case["machine"]) for case in found] == [("failure", "M-2"), ("false_alarm", "M-1")]
    assert found[1]["note"] == "nothing"
    assert found[1]["alarm_id"] is not None
    assert all(case["features"] == FEATURES and case["prediction_id"] == 7 for case in found)
    assert [case["machine"] for case in cases.told(conn, "milling", simulated=True)] == ["demo-M-3", "M-2", "M-1"]
    assert len(cases.told(conn, "milling", simulated=True, most=1)) == 1
    assert cases.told(conn, "pump", simulated=True) == []


def test_alarms_that_calmed_down_are_cases_of_the_row_that_began_them(conn: Connection, plant: Plant) -> None:
    batch = made.batch(plant, 3, machine_ids=np.array(plant.machines, dtype=np.int32))
    first, _ = writer.write_predictions(conn, batch)
    for number, machine in enumerate(plant.machines):
        alarms.close(conn, opened(conn, machine, first + number), "calm")
    still_open = opened(conn, plant.machines[0], first)
    answered = cases.told(conn, "milling", simulated=True)
    assert answered == []
    found = cases.calmed(conn, "milling", simulated=False)
    assert [(case["machine"], case["prediction_id"]) for case in found] == [("M-2", first + 1), ("M-1", first)]
    assert {case["became"] for case in found} == {"calm"}
    assert list(found[1]["features"]) == ["a", "b"]
    assert list(found[1]["features"].values()) == pytest.approx(batch.features[0].tolist())
    assert still_open not in {case["alarm_id"] for case in found}
    told(conn, plant.machines[0], "failure", alarm_id=found[1]["alarm_id"])
    assert [case["machine"] for case in cases.calmed(conn, "milling", simulated=True)] == ["demo-M-3", "M-2"]


def test_an_alarm_knows_what_was_told_of_it_last(conn: Connection, plant: Plant) -> None:
    alarm = opened(conn, plant.machines[0])
    found = outcomes.alarm(conn, alarm)
    assert found is not None
    assert (found["kind"], found["profile"], found["machine"], found["closed_at"]) == (None, "milling", "M-1", None)
    told(conn, plant.machines[0], "false_alarm", alarm_id=alarm)
    told(conn, plant.machines[0], "failure", alarm_id=alarm)
    alarms.close(conn, alarm, "outcome")
    newer = opened(conn, plant.machines[0])
    assert [(one["id"], one["kind"]) for one in outcomes.alarms_of(conn, plant.machines[0])] == [
        (newer, None),
        (alarm, "failure"),
    ]
    assert outcomes.alarm(conn, 10**9) is None
    assert outcomes.alarms_of(conn, plant.machines[1]) == []


def test_the_record_counts_each_alarm_once_and_what_had_none(conn: Connection, plant: Plant) -> None:
    one, two, simulated = plant.machines
    for kind in ("failure", "false_alarm", "planned_work"):
        alarm = opened(conn, one)
        told(conn, one, "false_alarm", alarm_id=alarm)
        told(conn, one, kind, alarm_id=alarm)
        alarms.close(conn, alarm, "outcome")
    alarms.close(conn, opened(conn, one), "calm")
    opened(conn, two, at=NOW + timedelta(days=2))
    told(conn, two, "missed_failure", predicted=None)
    told(conn, two, "failure", at=NOW + timedelta(days=2))
    told(conn, two, "planned_work")
    opened(conn, simulated)
    names = {"profile": "milling"}
    assert outcomes.record(conn) == [
        names | NOTHING | {"machine": "M-1", "alarms": 4, "right": 1, "false": 1, "planned": 1, "unanswered": 1},
        names | NOTHING | {"machine": "M-2", "alarms": 1, "open": 1, "missed": 2},
    ]
    (late,) = outcomes.record(conn, profile="milling", machine="M-2", from_=NOW + timedelta(days=1))
    assert (late["alarms"], late["missed"]) == (1, 1)
    (early,) = outcomes.record(conn, machine="M-2", from_=NOW, to=NOW + timedelta(days=1))
    assert (early["alarms"], early["missed"]) == (0, 1)
    assert [row["machine"] for row in outcomes.record(conn, machine="demo-M-3")] == ["demo-M-3"]
    assert outcomes.record(conn, profile="pump") == []
