"""The plant at a glance: the age of its data, its day, and what is wrong with each machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from appliance import pipeline
from appliance.client import Client
from appliance.errors import NotFound, RequestError, Unauthorized
from appliance.store import day, sessions, users
from appliance.store import engine as engines
from tests.api.conftest import People
from tests.api.test_explain import GOOD, PUMP, WORN, predict
from tests.api.test_journey import box, drop, lines, schedule

__all__ = ["box", "schedule"]

# Beyond the limit of strain alone.
STRAINED = GOOD | {"type": "L", "speed": 1300, "torque": 56.0, "tool_wear": 232}


def machines(people: People, **query: str) -> list[dict[str, Any]]:
    answer = people("viewer").get("/machines", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_an_empty_box_has_no_ages_and_an_empty_day(people: People) -> None:
    ages = people("viewer").get("/ages").json()
    assert (ages["read_at"], ages["arrived_at"], ages["predicted_at"]) == (None, None, None)
    assert ages["now"]
    day = people("viewer").get("/day").json()
    assert {name: value for name, value in day.items() if name not in ("from", "to")} == dict.fromkeys(
        ("files", "quarantined", "critical", "rows_in", "rows_good", "rows_bad", "rows_predicted", "rows_failing", "alarms"), 0
    )  # fmt: skip


def test_the_day_counts_what_came_since_midnight(box: pipeline.Box, schedule: Client, engine: Engine) -> None:
    drop(box.settings, "a.csv", lines(20, bad=4))
    drop(box.settings, "b.csv", "no;such\n1;2\n")
    pipeline.ingest(box)
    assert (schedule.day()["rows_in"], schedule.day()["rows_predicted"]) == (20, 0)
    pipeline.predict(box)
    found = schedule.day()
    assert (found["files"], found["quarantined"], found["critical"]) == (1, 1, 0)
    assert (found["rows_in"], found["rows_good"], found["rows_bad"], found["rows_predicted"]) == (20, 16, 4, 16)
    failing = sum(row["failing"] for row in schedule.predictions())
    assert found["rows_failing"] == failing
    assert schedule.day(profile="pump")["files"] == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE file SET arrived_at = arrived_at - interval '3 days'"))
    assert schedule.day()["files"] == 0
    past = datetime.now(UTC) - timedelta(days=4)
    assert schedule.day(from_=past.isoformat())["files"] == 1
    ages = schedule.ages()
    assert all(ages[name] for name in ("arrived_at", "read_at", "predicted_at"))
    with pytest.raises(RequestError, match="No time lies between"):
        schedule.day(from_="2026-03-02T00:00:00Z", to="2026-03-01T00:00:00Z")


@pytest.mark.parametrize("ids", [[], [7], [1, 2, 3, 9, 10], list(range(1, 40))])
@pytest.mark.parametrize("old", [0, 1, 3, 20, 99])
def test_the_first_file_of_a_day_is_found_by_halves(engine: Engine, ids: list[int], old: int) -> None:
    now = datetime.now(UTC)
    with engines.transaction(engine) as conn:
        conn.execute(text("CREATE TEMPORARY TABLE file (id bigint PRIMARY KEY, arrived_at timestamptz) ON COMMIT DROP"))
        for at, id_ in enumerate(ids):
            then = now - timedelta(days=2 if at < old else 0)
            conn.execute(text("INSERT INTO pg_temp.file VALUES (:id, :at)"), {"id": id_, "at": then})
        first = day._first_file(conn, now - timedelta(hours=3))
    new = ids[old:]
    assert [id_ for id_ in ids if id_ >= first] == new


def test_a_machine_in_alarm_says_why_in_plant_units(people: People) -> None:
    predict(people("operator"), WORN, WORN | {"tool_wear": 231}, STRAINED, machine="mill-1")
    predict(people("operator"), GOOD, machine="mill-2")
    predict(people("operator"), PUMP, machine=None, profile="pump")
    mill, calm, pump = machines(people)
    assert (mill["name"], calm["name"], pump["name"]) == ("mill-1", "mill-2", "P-01")
    assert mill["verdict"] == "this setting fails"
    assert mill["reason"]["text"] == "Strain 12,992 min N.m, limit 11,000 for quality low"
    assert mill["reason"]["action"].startswith("Lower the torque")
    assert mill["reason"]["prediction_id"] == mill["last_id"]
    assert mill["verdicts"] == [True, True, True]
    assert (mill["alarm"]["state"], mill["alarm"]["rows"], mill["alarm"]["id"]) == ("open", 1, mill["alarm_id"])
    assert (calm["reason"], calm["alarm"], calm["verdict"]) == (None, None, "this setting holds")
    assert pump["verdict"] == "no failure within 24 h"
    assert [found["name"] for found in machines(people, profile="milling", machine="mill-2")] == ["mill-2"]


def test_a_failing_machine_without_an_alarm_has_a_reason_too(people: People) -> None:
    (row,) = predict(people("operator"), WORN, machine="mill-1")
    (mill,) = machines(people)
    assert mill["alarm"] is None
    assert (mill["reason"]["prediction_id"], mill["reason"]["text"]) == (row["id"], row["reason"]["text"])


def test_a_reason_whose_row_is_gone_is_that_of_the_alarm(people: People, engine: Engine) -> None:
    predict(people("operator"), WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}, machine="mill-1")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM prediction"))
    (mill,) = machines(people)
    assert mill["reason"]["text"].startswith("Power ")


def test_alarms_that_are_not_closed_are_one_list(people: People) -> None:
    operator, viewer = people("operator"), people("viewer")
    for machine in ("mill-1", "mill-2", "mill-3", "mill-4"):
        predict(operator, WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}, machine=machine)
    fourth, third, second, first = viewer.get("/alarms", params={"state": "current"}).json()["items"]
    assert operator.post(f"/alarms/{second['id']}/ack", json={"note": "on my way"}).status_code == 200
    assert operator.post(f"/alarms/{third['id']}/snooze", json={"minutes": 30}).status_code == 200
    assert operator.post("/outcomes", json={"kind": "false_alarm", "alarm_id": fourth["id"]}).status_code == 200
    current = viewer.get("/alarms", params={"state": "current"}).json()["items"]
    assert [(a["id"], a["state"]) for a in current] == [
        (third["id"], "snoozed"),
        (second["id"], "acknowledged"),
        (first["id"], "open"),
    ]
    one = viewer.get(f"/alarms/{fourth['id']}").json()
    assert (one["state"], one["close_reason"], one["outcome"]) == ("closed", "outcome", "false_alarm")
    assert viewer.get("/alarms/99").status_code == 404


def test_a_screen_signs_its_user_out(people: People, settings: Any, engine: Engine, address: Any) -> None:
    with engines.transaction(engine) as connection:
        cookie = sessions.start(connection, users.add(connection, "anna", "viewer"), timedelta(hours=1))
    with Client(address, session=cookie) as api:
        assert api.whoami()["name"] == "anna"
        with pytest.raises(NotFound):
            api.alarm(1)
        api.sign_out()
        with pytest.raises(Unauthorized):
            api.whoami()
        api.sign_out()  # nobody is left to sign out; that is no fault
