"""Past predictions: what a filter matches is counted, listed page by page, and taken home."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from appliance.client import SESSION_COOKIE, Client
from tests.api.test_predict import FAILING, PUMP_ROW, ROW
from tests.ui.conftest import Box, Browser, texts
from ui import words
from ui.views import predictions


@pytest.fixture
def history(box: Box, plant: Client, token: Callable[..., str]) -> None:
    """Rows of two profiles, of three sources, of machines and of nobody."""
    plant.predict_rows([ROW, FAILING], profile="milling", machine="mill-1")
    box.client(token("operator", "scheduled")).predict_rows([ROW, ROW, FAILING], profile="milling", machine="mill-2")
    box.client(token("operator", "webapp")).predict_rows([ROW], profile="milling")
    plant.predict_rows([PUMP_ROW], profile="pump")


def listed(at: AppTest) -> list[str]:
    """The links of the rows, top down."""
    return [found.proto.label.replace("\\", "") for found in at.get("page_link") if "id=" in found.proto.query_string]


def shown(at: AppTest) -> list[str]:
    """Machines of the rows, top down."""
    return [re.sub(r"^.*\d\d:\d\d:\d\d ", "", label) for label in listed(at)]


def exported(at: AppTest, user: Browser, number: int = 0) -> list[dict[str, str]]:
    """What the browser gets from the API by the link on the page."""
    links = [found.proto.url for found in at.get("link_button") if "/predictions/export" in found.proto.url]
    answer = httpx.get(links[number], cookies={SESSION_COOKIE: user.cookie or ""}, trust_env=False)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_newest_come_first_with_all_that_a_line_needs(browse: Callable[..., Browser], history: None) -> None:
    user = browse("viewer")
    at = user("predictions")
    assert shown(at) == ["P-01", "no machine", "mill-2", "mill-2", "mill-2", "mill-1", "mill-1"]
    said = texts(at)
    assert "**7 predictions**, 2 failing" in said
    assert "this setting fails" in said
    assert "scheduled" in said
    assert "Coolant pump" in said
    assert "1 to 7, the newest first" in said
    assert len(at.get("vega_lite_chart")) == 1
    assert len(exported(at, user)) == 7


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"source": "scheduled"}, ["mill-2"] * 3),
    ({"source": "webapp"}, ["no machine"]),
    ({"verdict": "failing"}, ["mill-2", "mill-1"]),
    ({"min_probability": 0.9}, ["mill-2", "mill-1"]),
    ({"machine": "mill-1"}, ["mill-1"] * 2),
    ({"profile": "pump"}, ["P-01"]),
    ({"profile": "milling", "source": "api", "verdict": "passing"}, ["mill-1"]),
    ({"from": "2020-01-01T00:00", "span": "own", "machine": "mill-2"}, ["mill-2"] * 3),
]


@pytest.mark.parametrize(("asked", "found"), CASES)
def test_an_address_asks_for_a_filter(
    browse: Callable[..., Browser], history: None, asked: dict[str, Any], found: list[str]
) -> None:
    user = browse("viewer")
    at = user("predictions", **asked)
    assert shown(at) == found
    assert at.query_params == {name: str(value) for name, value in asked.items()}
    assert [row["machine"] or "no machine" for row in exported(at, user)] == found
    # The same again, as after another tap.
    assert shown(user.run(at)) == found


def test_widgets_ask_and_the_address_follows(browse: Callable[..., Browser], history: None) -> None:
    user = browse("viewer")
    at = user("predictions")
    at.segmented_control(key="past_source").set_value("scheduled")
    at = user.run(at)
    assert shown(at) == ["mill-2"] * 3
    at.segmented_control(key="past_verdict").set_value("failing")
    at = user.run(at)
    assert shown(at) == ["mill-2"]
    assert at.query_params == {"source": "scheduled", "verdict": "failing"}
    at.segmented_control(key="past_source").set_value("all")
    at.number_input(key="past_min_probability").set_value(50.0)
    at.selectbox(key="past_machine").select("mill-1")
    at = user.run(at)
    assert shown(at) == ["mill-1"]
    assert at.query_params == {"verdict": "failing", "min_probability": "0.5", "machine": "mill-1"}


def test_yesterdays_scheduled_predictions_are_two_taps(
    browse: Callable[..., Browser], history: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = words.now()
    monkeypatch.setattr(words, "now", lambda: today + timedelta(days=1))
    user = browse("viewer")
    at = user("predictions")
    at.segmented_control(key="past_span").set_value("yesterday")
    at.segmented_control(key="past_source").set_value("scheduled")
    at = user.run(at)
    assert shown(at) == ["mill-2"] * 3
    assert len(exported(at, user)) == 3
    monkeypatch.setattr(words, "now", lambda: today + timedelta(days=2))
    at = user.run(at)
    assert "No prediction of that time fits." in texts(at)
    assert not at.get("vega_lite_chart")


def test_times_of_ones_own_begin_with_today(browse: Callable[..., Browser], history: None) -> None:
    user = browse("viewer")
    at = user("predictions")
    at.segmented_control(key="past_span").set_value("own")
    at = user.run(at)
    assert len(shown(at)) == 7
    since = at.get("datetime_input")[0].value
    assert (since.hour, since.minute) == (0, 0)
    at.get("datetime_input")[1].set_value(since)
    assert "No time lies between from and to." in texts(user.run(at)).replace("\\", "")


def test_pages_go_on_where_the_one_before_ended(
    browse: Callable[..., Browser], history: None, plant: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "ROWS", 3)
    user = browse("viewer")
    at = user("predictions")
    assert shown(at) == ["P-01", "no machine", "mill-2"]
    at.button(key="past_older").click()
    at = user.run(at)
    assert shown(at) == ["mill-2", "mill-2", "mill-1"]
    assert "4 to 6, the newest first" in texts(at)
    # What comes meanwhile moves nothing.
    plant.predict_rows([ROW], profile="milling", machine="mill-9")
    at.button(key="past_older").click()
    at = user.run(at)
    assert shown(at) == ["mill-1"]
    assert "past_older" not in {button.key for button in at.button}
    at.button(key="past_newer").click()
    assert shown(user.run(at)) == ["mill-2", "mill-2", "mill-1"]
    at.button(key="past_newest").click()
    assert shown(user.run(at))[0] == "mill-9"
    # Another question begins at its own newest page.
    at.button(key="past_older").click()
    user.run(at)
    at.segmented_control(key="past_verdict").set_value("failing")
    assert shown(user.run(at)) == ["mill-2", "mill-1"]


def test_what_an_address_asks_in_vain_is_said(browse: Callable[..., Browser], history: None) -> None:
    at = browse("viewer")("predictions", source="moon", min_probability="much", machin="mill-1")
    assert "left out: machin, min\\_probability, source" in texts(at) or "source, min\\_probability, machin" in texts(
        at
    )
    assert len(shown(at)) == 7


def test_what_is_unknown_finds_nothing(browse: Callable[..., Browser], history: None) -> None:
    user = browse("viewer")
    for asked in ({"machine": "mill-77"}, {"profile": "lathe"}, {"file": 9}):
        at = user("predictions", span="all", **asked)
        assert "No prediction fits." in texts(at)
        assert shown(at) == []


def test_the_readings_can_be_taken_home_too(browse: Callable[..., Browser], history: None) -> None:
    user = browse("viewer")
    at = user("predictions", profile="milling", verdict="failing")
    rows = exported(at, user, 1)
    assert [float(row["torque"]) for row in rows] == [FAILING["torque"]] * 2


def test_a_box_without_predictions_says_so(browse: Callable[..., Browser]) -> None:
    assert "No prediction of that time fits." in texts(browse("viewer")("predictions"))
    assert "Nobody is signed in" in texts(browse(None)("predictions"))
