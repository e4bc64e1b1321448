"""Alarms: who may answer them, what is noted under which name, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from appliance.client import Client
from appliance.errors import Forbidden
from tests.api.test_explain import GOOD, WORN
from tests.ui.conftest import Box, Browser, texts
from ui import session


def alarm(plant: Client, machine: str = "mill-1") -> dict[str, Any]:
    """An open alarm."""
    plant.predict_rows([WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}], profile="milling", machine=machine)
    (found,) = plant.alarms("open", machine=machine)
    return found


def press(browser: Browser, at: AppTest, label: str) -> AppTest:
    """Press the one button that is called so."""
    (button,) = [one for one in at.button if label in one.label]
    button.click()
    return browser.run(at)


def test_an_empty_box_has_no_alarms_and_says_so(browse: Callable[..., Browser]) -> None:
    at = browse("viewer")("alarms")
    said = texts(at)
    assert "No alarm is open, acknowledged or snoozed" in said
    assert "No alarms so far, and no missed failures." in said


def test_an_operator_acknowledges_an_alarm_under_their_name(browse: Callable[..., Browser], plant: Client) -> None:
    opened, operator = alarm(plant), browse("operator")
    at = operator("alarms", alarm=opened["id"])
    assert "Power 10,070 W, limit 9,000" in texts(at).replace("\\", "")
    at.text_input(key=f"alarm_{opened['id']}_note").set_value("spindle is being looked at")
    at = press(operator, at, "I look after it")
    found = plant.alarm(opened["id"])
    assert (found["state"], found["acknowledged_by"], found["note"]) == (
        "acknowledged",
        "user-operator",
        "spindle is being looked at",
    )
    said = texts(at)
    assert "somebody looks after it" in said
    assert "spindle is being looked at" in said


def test_an_operator_snoozes_an_alarm(browse: Callable[..., Browser], plant: Client) -> None:
    opened, operator = alarm(plant), browse("operator")
    at = operator("alarms", alarm=opened["id"])
    at.radio(key=f"alarm_{opened['id']}_minutes").set_value(120)
    at = press(operator, at, "Snooze")
    assert plant.alarm(opened["id"])["state"] == "snoozed"
    assert "alarm, snoozed" in texts(at)


@pytest.mark.parametrize("kind", ["failure", "false_alarm", "planned_work"])
def test_saying_what_happened_closes_the_alarm(browse: Callable[..., Browser], plant: Client, kind: str) -> None:
    opened, operator = alarm(plant), browse("operator")
    at = operator("alarms", alarm=opened["id"])
    (kinds,) = [one for one in at.radio if one.label == "What happened?"]
    kinds.set_value(kind)
    at.text_area[0].set_value("insert broken")
    at = press(operator, at, "Note it")
    (told,) = plant.outcomes()
    assert (told["kind"], told["note"], told["who"], told["alarm_id"]) == (
        kind, "insert broken", "user-operator", opened["id"],
    )  # fmt: skip
    assert plant.alarm(opened["id"])["state"] == "closed"
    said = texts(at)
    assert "insert broken" in said
    assert "**1 alarm, 1 " in said


def test_nothing_is_noted_before_it_is_said_what_happened(browse: Callable[..., Browser], plant: Client) -> None:
    opened, operator = alarm(plant), browse("operator")
    at = press(operator, operator("alarms", alarm=opened["id"]), "Note it")
    assert "Choose what happened." in texts(at)
    assert list(plant.outcomes()) == []


def test_a_viewer_sees_the_alarm_and_no_way_to_answer_it(browse: Callable[..., Browser], plant: Client) -> None:
    opened, viewer = alarm(plant), browse("viewer")
    at = viewer("alarms", alarm=opened["id"])
    assert "To answer an alarm one needs the role operator." in texts(at)
    assert [one.label for one in at.button] == ["Sign out"]
    with (
        Client(viewer.box.url, session=viewer.cookie) as api,
        pytest.raises(Forbidden, match="needs the role operator"),
    ):
        api.ack(opened["id"])


def test_a_station_asks_who_stands_before_it_and_notes_both(browse: Callable[..., Browser], plant: Client) -> None:
    browse("engineer")  # a person whose name can be tapped, once they have signed in
    opened, station = alarm(plant), browse("operator", station=True)
    at = station("alarms", alarm=opened["id"])
    assert "Say first who you are" in texts(at)
    assert not [one for one in at.button if "I look after it" in one.label]
    at.text_input(key=f"alarm_{opened['id']}_who_other_").set_value("  Jürgen   Vögel ")
    at = station.run(at)
    at = press(station, at, "I look after it")
    assert plant.alarm(opened["id"])["acknowledged_by"] == "station-operator: Jürgen Vögel"


def test_who_went_away_from_a_station_is_forgotten(
    browse: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    station = browse("operator", station=True)
    at = station()
    at.text_input(key="sidebar_other_").set_value("Anna")
    at = station.run(at)
    assert "station\\-operator: Anna" in texts(at).replace("\\:", ":")
    monkeypatch.setattr(session, "PERSON_SECONDS", 0)
    at = station.run(at)
    assert "Anna" not in texts(at)


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999", "7"])
def test_a_number_of_no_alarm_is_one_sentence(browse: Callable[..., Browser], number: str) -> None:
    said = texts(browse("viewer")("alarms", alarm=number))
    assert "is no number of an alarm" in said or "There is no alarm" in said.replace("\\", "")


def test_an_alarm_that_calmed_down_can_still_be_answered(browse: Callable[..., Browser], plant: Client) -> None:
    opened, operator = alarm(plant), browse("operator")
    plant.predict_rows([GOOD] * 10, profile="milling", machine="mill-1")
    at = operator("alarms", alarm=opened["id"])
    assert "calmed down by itself" in texts(at)
    (kinds,) = [one for one in at.radio if one.label == "What happened?"]
    kinds.set_value("false_alarm")
    at = press(operator, at, "Note it")
    assert "**1 alarm, 1 false.**" in texts(at)


def test_an_alarm_that_was_closed_meanwhile_is_a_sentence(browse: Callable[..., Browser], plant: Client) -> None:
    opened, operator = alarm(plant), browse("operator")
    at = operator("alarms", alarm=opened["id"])
    plant.outcome("false_alarm", alarm_id=opened["id"])
    (button,) = [one for one in at.button if "I look after it" in one.label]
    button.click()
    at = operator.run(at)
    assert plant.alarm(opened["id"])["acknowledged_by"] is None
    assert "false alarm" in texts(at)


def test_the_list_of_closed_alarms_goes_on(browse: Callable[..., Browser], plant: Client, box: Box) -> None:
    opened = alarm(plant)
    plant.outcome("failure", alarm_id=opened["id"])
    with box.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO alarm (machine_id, opened_at, last_seen_at, rows, probability, closed_at, close_reason)"
                " SELECT machine_id, opened_at, last_seen_at, 1, 0.5, closed_at, 'calm' FROM alarm,"
                " generate_series(1, 30)"
            )
        )
    viewer = browse("viewer")
    at = viewer("alarms")
    assert texts(at).count("calmed down by itself") == 20
    at.button(key="more_closed").click()
    at = viewer.run(at)
    assert texts(at).count("calmed down by itself") == 30
