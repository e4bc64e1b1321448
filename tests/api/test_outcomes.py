"""What people tell: it closes the right alarm, keeps a copy of what was predicted, and makes the record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from appliance.client import Client
from appliance.errors import KeyReused, NotFound, RequestError
from tests.api.conftest import People
from tests.api.test_explain import GOOD, PUMP, WORN, explain, predict
from tests.api.test_problems import assert_problem


def alarm(people: People, machine: str = "mill-1") -> dict[str, Any]:
    """An open alarm of the machine, after three rows that fail."""
    predict(people("operator"), WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}, machine=machine)
    found = people("viewer").get("/alarms", params={"machine": machine}).json()["items"]
    assert len(found) == 1, found
    item: dict[str, Any] = found[0]
    return item


def tell(client: httpx.Client, kind: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/outcomes", json={"kind": kind, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def state_of(people: People, alarm_id: int) -> tuple[str, str | None]:
    items = people("viewer").get("/alarms", params={"state": "all"}).json()["items"]
    found = next(item for item in items if item["id"] == alarm_id)
    return found["state"], found["close_reason"]


def record(people: People, **query: Any) -> dict[str, Any]:
    answer = people("viewer").get("/outcomes/record", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_outcome_answers_an_alarm_and_closes_it(people: People) -> None:
    opened = alarm(people)
    told = tell(people("operator"), "failure", alarm_id=opened["id"], note="insert broken")
    assert (told["kind"], told["alarm_id"], told["machine"]) == ("failure", opened["id"], "mill-1")
    assert (told["who"], told["note"]) == ("operator by api", "insert broken")
    assert state_of(people, opened["id"]) == ("closed", "outcome")
    predicted = told["predicted"]
    assert predicted["prediction_id"] == opened["first_prediction_id"]
    assert predicted["failing"] is True
    assert predicted["features"]["tool_wear"] == 232
    assert set(predicted["modes"]) == {"tool_wear", "heat_dissipation", "power", "overstrain"}
    assert predicted["alarm"]["title"] == opened["details"]["title"]
    assert people("viewer").get("/outcomes").json()["items"] == [told]


def test_the_open_alarm_of_a_machine_is_the_one_that_is_meant(people: People) -> None:
    opened = alarm(people)
    other = alarm(people, "mill-2")
    told = tell(people("operator"), "false_alarm", machine="mill-1", profile="milling")
    assert told["alarm_id"] == opened["id"]
    assert state_of(people, opened["id"])[0] == "closed"
    assert state_of(people, other["id"])[0] == "open"
    by_row = tell(people("operator"), "planned_work", prediction_id=other["last_prediction_id"])
    assert by_row["alarm_id"] == other["id"]
    assert by_row["predicted"]["prediction_id"] == other["last_prediction_id"]


def test_a_machine_that_was_answered_for_begins_anew(people: People, engine: Engine) -> None:
    """Rows that failed before the repair count no more, and the next alarm waits as after any."""
    opened = alarm(people)
    tell(people("operator"), "failure", alarm_id=opened["id"])
    with engine.connect() as connection:
        state = connection.execute(text("SELECT * FROM machine_state WHERE last_id IS NOT NULL")).mappings().one()
    assert (state["alarm_id"], state["verdicts"], state["calm"]) == (None, [], 0)
    assert state["cooldown_until"] >= state["last_read_at"] + timedelta(minutes=10)
    predict(people("operator"), WORN, WORN, WORN)
    assert people("viewer").get("/alarms").json()["items"] == []
    later = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with engine.begin() as connection:
        connection.execute(text("UPDATE machine_state SET cooldown_until = :then"), {"then": later})
    predict(people("operator"), WORN)
    assert len(people("viewer").get("/alarms").json()["items"]) == 1


def test_a_missed_failure_closes_nothing_and_keeps_what_was_said_last(people: People) -> None:
    rows = predict(people("operator"), GOOD, GOOD | {"torque": 30.0})
    told = tell(people("operator"), "missed_failure", machine="mill-1", profile="milling")
    assert told["alarm_id"] is None
    assert told["predicted"]["prediction_id"] == rows[-1]["id"]
    assert told["predicted"]["failing"] is False
    early = tell(
        people("operator"), "missed_failure", machine="mill-1", profile="milling", happened_at="2020-01-01T00:00:00Z"
    )
    assert (early["predicted"], early["happened_at"]) == (None, "2020-01-01T00:00:00Z")


def test_an_alarm_that_began_later_is_not_meant(people: People) -> None:
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    opened = alarm(people)
    told = tell(people("operator"), "failure", machine="mill-1", profile="milling", happened_at=before)
    assert told["alarm_id"] is None
    assert state_of(people, opened["id"])[0] == "open"
    answer = people("operator").post(
        "/outcomes", json={"kind": "failure", "alarm_id": opened["id"], "happened_at": before}
    )
    assert "began after" in assert_problem(answer, 400)["detail"]


def test_a_failure_within_its_horizon_is_that_of_an_alarm_that_calmed_down(people: People, engine: Engine) -> None:
    now = datetime.now(UTC)

    def reading(minutes: int, vibration: float) -> dict[str, Any]:
        at = (now - timedelta(hours=5) + timedelta(minutes=minutes)).isoformat()
        return PUMP | {"measured_at": at, "vibration": vibration}

    rows = [reading(n, 14.0) for n in range(6)] + [reading(10 + n, 1.5) for n in range(30)]
    predict(people("operator"), *rows, machine=None, profile="pump")
    (calmed,) = people("viewer").get("/alarms", params={"state": "closed"}).json()["items"]
    assert calmed["close_reason"] == "calm"
    late = tell(
        people("operator"),
        "failure",
        machine="P-01",
        profile="pump",
        happened_at=(now - timedelta(hours=1)).isoformat(),
    )
    assert late["alarm_id"] == calmed["id"]
    again = tell(people("operator"), "failure", machine="P-01", profile="pump")
    assert again["alarm_id"] is None  # that alarm is answered
    assert state_of(people, calmed["id"]) == ("closed", "calm")


def test_people_correct_themselves_and_the_last_word_counts(people: People) -> None:
    opened = alarm(people)
    tell(people("operator"), "false_alarm", alarm_id=opened["id"])
    assert record(people)["sentence"] == "1 alarm, 0 right, 1 false, 0 missed."
    tell(people("operator"), "failure", alarm_id=opened["id"])
    found = record(people)
    assert (found["alarms"], found["right"], found["false"]) == (1, 1, 0)
    assert len(people("viewer").get("/outcomes").json()["items"]) == 2
    cases = explain(people("viewer"), profile="milling", row=WORN)["cases"]["nearest"]
    assert [case["became"] for case in cases] == ["failure"]


def test_the_record_counts_alarms_and_what_was_missed(people: People, engine: Engine) -> None:
    assert record(people)["sentence"] == "No alarms, and no missed failures."
    for number, kind in enumerate(["failure", "failure", "false_alarm", "planned_work"]):
        tell(people("operator"), kind, alarm_id=alarm(people, f"mill-{number}")["id"])
    alarm(people, "mill-8")
    calm = alarm(people, "mill-9")
    predict(people("operator"), *[GOOD | {"torque": 30 + n / 10} for n in range(12)], machine="mill-9")
    assert state_of(people, calm["id"]) == ("closed", "calm")
    tell(people("operator"), "missed_failure", machine="mill-8", profile="milling")
    found = record(people, profile="milling")
    assert found["sentence"] == (
        "6 alarms, 2 right, 1 false, 1 before planned work, 1 missed, 1 of which nobody told, 1 open."
    )
    by_machine = {one["machine"]: one for one in found["machines"]}
    assert by_machine["mill-8"] == {
        "profile": "milling", "machine": "mill-8", "alarms": 1, "right": 0, "false": 0, "planned": 0, "unanswered": 0,
        "open": 1, "missed": 1,
    }  # fmt: skip
    assert record(people, machine="mill-0")["sentence"] == "1 alarm, 1 right, 0 missed."
    assert record(people, profile="pump")["alarms"] == 0
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert record(people, **{"from": tomorrow})["alarms"] == 0
    assert record(people, to=tomorrow)["alarms"] == 6
    assert record(people, **{"from": "2020-01-01", "to": tomorrow})["missed"] == 1


def test_what_became_of_a_row_is_told_beside_rows_like_it(people: People) -> None:
    opened = alarm(people)
    tell(people("operator"), "failure", alarm_id=opened["id"], note="spindle")
    said = explain(people("viewer"), profile="milling", row=WORN | {"tool_wear": 233})
    (case,) = said["cases"]["nearest"]
    assert (case["became"], case["machine"], case["note"]) == ("failure", "mill-1", "spindle")
    assert case["prediction_id"] == opened["first_prediction_id"]
    assert said["cases"]["text"] == "Of the 1 nearest past cases 1 failed."
    itself = explain(people("viewer"), prediction_id=opened["first_prediction_id"])
    assert itself["cases"]["nearest"] == []


def test_what_is_simulated_says_nothing_about_real_machines(people: People) -> None:
    tell(people("operator"), "failure", alarm_id=alarm(people, "demo-mill-1")["id"])
    assert record(people)["alarms"] == 0
    assert record(people, machine="demo-mill-1")["sentence"] == "1 alarm, 1 right, 0 missed."

    def nearest(**more: str) -> list[str]:
        said = explain(people("viewer"), profile="milling", row=WORN, **more)
        return [case["machine"] for case in said["cases"]["nearest"]]

    assert nearest() == nearest(machine="mill-1") == []
    assert nearest(machine="demo-mill-2") == ["demo-mill-1"]


def test_an_alarm_that_calmed_down_is_a_case_too(people: People) -> None:
    calm = alarm(people)
    predict(people("operator"), *[GOOD | {"torque": 30 + n / 10} for n in range(12)])
    said = explain(people("viewer"), profile="milling", row=WORN)["cases"]
    assert [(case["became"], case["alarm_id"]) for case in said["nearest"]] == [("calm", calm["id"])]


def test_a_request_that_is_repeated_is_told_once(people: People) -> None:
    opened = alarm(people)
    body = {"kind": "failure", "alarm_id": opened["id"]}
    first = people("operator").post("/outcomes", json=body, headers={"idempotency-key": "k-1"})
    again = people("operator").post("/outcomes", json=body, headers={"idempotency-key": "k-1"})
    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers
    assert len(people("viewer").get("/outcomes").json()["items"]) == 1
    other = people("operator").post("/outcomes", json=body | {"note": "x"}, headers={"idempotency-key": "k-1"})
    assert_problem(other, 422, "idempotency_key")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "failure"}, 400),
        ({"kind": "failure", "alarm_id": 1, "machine": "mill-1"}, 400),
        ({"kind": "failure", "alarm_id": 10**9}, 404),
        ({"kind": "failure", "prediction_id": 10**9}, 404),
        ({"kind": "failure", "machine": "never", "profile": "milling"}, 404),
        ({"kind": "failure", "machine": "-", "profile": "milling"}, 404),
        ({"kind": "failure", "machine": "mill-1"}, 400),  # two profiles are served
        ({"kind": "failure", "machine": "mill-1", "profile": "none"}, 404),
        ({"kind": "exploded", "machine": "mill-1", "profile": "milling"}, 400),
        ({"kind": "failure", "machine": "mill-1", "profile": "milling", "happened_at": "2200-01-01T00:00:00Z"}, 400),
        ({"kind": "failure", "machine": "mill-1", "profile": "milling", "happened_at": "soon"}, 400),
        ({"kind": "failure", "machine": "mill-1", "profile": "milling", "who": "me"}, 400),
        ({"kind": "failure", "alarm_id": "1"}, 400),
        ({"kind": "failure", "machine": "a\x00b", "profile": "milling"}, 400),
    ],
)
def test_an_outcome_about_nothing_is_refused(still: People, body: dict[str, Any], status: int) -> None:
    assert_problem(still("operator").post("/outcomes", json=body), status)


def test_what_contradicts_itself_is_refused(people: People) -> None:
    operator, opened = people("operator"), alarm(people)
    missed = operator.post("/outcomes", json={"kind": "missed_failure", "alarm_id": opened["id"]})
    assert "was not missed" in assert_problem(missed, 400)["detail"]
    (row,) = predict(operator, GOOD, machine="mill-2")
    for about in ({"machine": "mill-2", "profile": "milling"}, {"prediction_id": row["id"]}):
        assert (
            "could be false"
            in assert_problem(operator.post("/outcomes", json={"kind": "false_alarm"} | about), 400)["detail"]
        )
    (question,) = predict(operator, WORN, machine=None)
    nobody = operator.post("/outcomes", json={"kind": "failure", "prediction_id": question["id"]})
    assert "is of no machine" in assert_problem(nobody, 400)["detail"]
    (warned,) = predict(operator, WORN, machine="mill-3")
    assert tell(operator, "false_alarm", prediction_id=warned["id"])["alarm_id"] is None
    assert people("viewer").get("/outcomes").json()["items"][0]["predicted"]["failing"] is True


def test_only_who_works_there_tells(still: People) -> None:
    body = {"kind": "failure", "machine": "mill-1", "profile": "milling"}
    assert_problem(still("viewer").post("/outcomes", json=body), 403, "forbidden")


def test_outcomes_are_kept_when_predictions_are_gone(people: People, engine: Engine) -> None:
    opened = alarm(people)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM prediction"))
    told = tell(people("operator"), "failure", alarm_id=opened["id"])
    assert told["predicted"].keys() == {"alarm"}
    assert explain(people("viewer"), profile="milling", row=WORN)["cases"]["nearest"] == []


def test_pages_of_outcomes(people: People, address: Path, token: Callable[..., str]) -> None:
    predict(people("operator"), GOOD)
    with Client(address, token("operator", name="client")) as client:
        for number in range(7):
            client.outcome("planned_work", machine="mill-1", profile="milling", note=f"{number}")
        assert [one["note"] for one in client.outcomes(limit=3)] == ["6", "5", "4", "3", "2", "1", "0"]
        assert len(list(client.outcomes(machine="mill-1", profile="milling", at_most=2))) == 2
        assert list(client.outcomes(profile="pump")) == []
        when = datetime(2026, 3, 1, 8, tzinfo=UTC)
        told = client.outcome("missed_failure", machine="mill-1", profile="milling", happened_at=when)
        assert told["happened_at"] == "2026-03-01T08:00:00Z"
        assert client.record(from_=when, profile="milling")["missed"] == 1
        with pytest.raises(NotFound):
            client.outcome("failure", alarm_id=10**9)
        with pytest.raises(RequestError):
            client.outcome("failure")
        client.outcome("planned_work", machine="mill-1", profile="milling", idempotency_key="k")
        with pytest.raises(KeyReused):
            client.outcome("failure", machine="mill-1", profile="milling", idempotency_key="k")
