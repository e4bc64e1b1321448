"""The plant at a glance, and the page of one machine: two kinds of machines, stale data, nobody, an API that goes away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from appliance import pipeline
from appliance.client import Client
from tests.api.test_explain import GOOD, PUMP, WORN
from tests.api.test_journey import drop, lines
from tests.ui.conftest import Box, Browser, point, texts


def pump(vibration: float, minutes_ago: float, name: str = "P-01") -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat()
    return PUMP | {"pump": name, "measured_at": at, "vibration": vibration}


def said(at: Any) -> str:
    return texts(at).replace("\\", "")


@pytest.mark.parametrize("page", ["overview", "alarms", "shift", "machine"])
def test_an_empty_box_is_a_page_and_not_an_error(browse: Callable[..., Browser], page: str) -> None:
    at = browse("viewer")(page)
    assert not at.error
    assert "No data has come yet" in said(at) or "There is no machine yet" in said(at)


def test_machines_come_by_risk_with_reason_and_action_in_plant_units(
    browse: Callable[..., Browser], plant: Client
) -> None:
    plant.predict_rows([GOOD], profile="milling", machine="mill-2")
    plant.predict_rows(
        [WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}], profile="milling", machine="mill-1"
    )
    plant.predict_rows([pump(14.0, 30 - n) for n in range(6)], profile="pump")
    at = browse("viewer")()
    shown = said(at)
    assert "2 open alarms." in shown
    assert "Power 10,070 W, limit 9,000" in shown
    assert "Do: Change speed or torque so that the power lies between 3,500 and 9,000 W." in shown
    assert "this setting fails" in shown
    assert "will fail within 24 h" in shown
    assert "this setting holds" in shown
    names = [found.proto.label.replace("\\", "") for found in at.get("page_link") if found.proto.page == "machine"]
    assert set(names[:2]) == {"mill-1", "P-01"}
    assert names[2] == "mill-2"
    assert "Milling machine" in shown
    assert "Coolant pump" in shown


def test_what_was_well_an_hour_ago_is_not_green(browse: Callable[..., Browser], plant: Client, box: Box) -> None:
    plant.predict_rows([GOOD], profile="milling", machine="mill-2")
    with box.engine.begin() as connection:
        ago = "- interval '2 hours'"
        connection.execute(
            text(
                f"UPDATE machine_state SET last_read_at = last_read_at {ago}, last_predicted_at = last_predicted_at {ago}"
            )
        )
    shown = said(browse("viewer")())
    assert "green" not in shown
    assert "1 machine sends nothing." in shown
    assert "last: this setting holds" in shown
    assert "Nothing new for 2 h." in shown


def test_the_day_counts_rows_in_and_what_became_of_them(
    browse: Callable[..., Browser], plant: Client, box: Box
) -> None:
    scheduled = box.settings.model_copy(update={"api_url": box.url, "api_token": None, "settle_seconds": 0.0})
    drop(box.settings, "a.csv", lines(20, bad=4))
    pipeline.ingest(pipeline.Box(scheduled, box.engine))
    at = browse("viewer")()
    figures = {found.label: found.value for found in at.metric}
    assert (figures["Rows in"], figures["Good"], figures["Bad"], figures["Predicted"]) == ("20", "16", "4", "0")
    assert "Every row is accounted for" in said(at)
    assert "16 good rows wait for their prediction." in said(at)


def test_the_api_goes_away_and_comes_back(
    browse: Callable[..., Browser], plant: Client, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.predict_rows([GOOD], profile="milling", machine="mill-2")
    viewer = browse("viewer")
    at = viewer()
    assert "mill-2" in said(at)
    with closed() as away:
        point(monkeypatch, box.settings, away)
        at = viewer.run(at)
        shown = said(at)
        assert "cannot be reached" in shown
        assert "comes back by itself" in shown
        assert "mill-2" not in shown
        assert "green" not in shown
    point(monkeypatch, box.settings, box.url)
    at = viewer.run(at)
    assert "mill-2" in said(at)
    assert "cannot be reached" not in said(at)


@contextmanager
def closed() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def test_the_page_of_a_machine_shows_its_history_and_its_address(browse: Callable[..., Browser], plant: Client) -> None:
    plant.predict_rows([GOOD, WORN, WORN | {"tool_wear": 231}, WORN], profile="milling", machine="mill-1")
    at = browse("operator")("machine", profile="milling", machine="mill-1")
    shown = said(at)
    assert "Machine mill-1" in shown
    assert "4 rows, 3 failing" in shown
    assert "Torque **62.0 N.m**" in shown
    assert "Quality **low**" in shown
    assert len(at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")) == 1
    assert "<svg" in shown
    assert at.code[0].value == "http://127.0.0.1:8501/machine?profile=milling&machine=mill-1"


def test_a_missed_failure_is_told_on_the_machines_page(browse: Callable[..., Browser], plant: Client) -> None:
    plant.predict_rows([pump(2.0, 10)], profile="pump")
    operator = browse("operator")
    at = operator("machine", profile="pump", machine="P-01")
    assert "no failure within 24 h" in said(at)
    (kinds,) = [one for one in at.radio if one.label == "What happened?"]
    kinds.set_value("missed_failure")
    at.text_area[0].set_value("bearing seized")
    (button,) = [one for one in at.button if one.label == "Note it"]
    button.click()
    at = operator.run(at)
    (told,) = plant.outcomes()
    assert (told["kind"], told["machine"], told["note"]) == ("missed_failure", "P-01", "bearing seized")
    assert "0 alarms, 1 missed" in said(at)
    assert "bearing seized" in said(at)


def test_a_question_about_a_machine_is_not_its_history(browse: Callable[..., Browser], plant: Client, box: Box) -> None:
    plant.predict_rows([GOOD], profile="milling", machine="mill-1")
    operator = browse("operator")
    with Client(box.url, session=operator.cookie) as screen:
        screen.predict_rows([WORN] * 101, profile="milling", machine="mill-1")  # more than are shown
        screen.predict_rows([WORN], profile="milling")
    at = operator("machine", profile="milling", machine="mill-1")
    assert "1 row, 0 failing" in said(at)


@pytest.mark.parametrize("name", ["-", "nobody", "<b>x</b>", "mill-1' OR 1=1"])
def test_a_machine_that_is_nobody_is_one_sentence_and_a_choice(
    browse: Callable[..., Browser], plant: Client, name: str
) -> None:
    plant.predict_rows([GOOD], profile="milling", machine="mill-1")
    at = browse("viewer")("machine", profile="milling", machine=name)
    assert "There is no machine" in said(at)
    assert "mill-1" in [found.proto.label.replace("\\", "") for found in at.get("page_link")]


def test_the_shift_page_holds_what_the_next_shift_has_to_know(browse: Callable[..., Browser], plant: Client) -> None:
    rows = [WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}]
    plant.predict_rows(rows, profile="milling", machine="mill-1")
    plant.predict_rows(rows, profile="milling", machine="mill-2")
    first, second = plant.alarms("open")
    plant.ack(second["id"], "Anna <fetches> a tool")
    plant.outcome("false_alarm", alarm_id=first["id"], note="sensor")
    shown = said(browse("viewer")("shift"))
    assert "Power 10,070 W, limit 9,000" in shown
    assert "Anna &lt;fetches&gt; a tool" in shown
    assert "false alarm" in shown
    assert "2 alarms, 1 false, 1 open" in shown
    assert "0 files, 0 rows in" in shown
