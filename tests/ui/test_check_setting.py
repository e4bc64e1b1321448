"""Check one setting: the form begins with the last reading, a press stores one row, and what if stores none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from appliance.client import Client
from appliance.errors import ApiAway
from tests.api.test_predict import FAILING, PUMP_ROW, ROW
from tests.ui.conftest import Browser, texts

MILL = {"profile": "milling"}


def stored(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT source, probability FROM prediction ORDER BY id")))


def pressed(user: Browser, at: AppTest) -> AppTest:
    (button,) = [one for one in at.button if one.label == "Check"]
    button.click()
    return user.run(at)


@pytest.fixture
def reading(plant: Client) -> dict[str, Any]:
    """The last reading of mill-7, which fails."""
    plant.predict_rows([FAILING], profile="milling", machine="mill-7")
    return FAILING


def test_the_form_begins_with_the_machines_last_reading(
    browse: Callable[..., Browser], reading: dict[str, Any]
) -> None:
    at = browse("operator")("check_setting", machine="mill-7", **MILL)
    assert "The form began with the reading of mill\\-7" in texts(at)
    assert at.number_input(key="setting_milling_mill-7_torque").value == reading["torque"]
    assert at.number_input(key="setting_milling_mill-7_torque").label == "Torque (N.m)"
    assert at.selectbox(key="setting_milling_mill-7_type").value == reading["type"]


def test_a_machine_without_readings_begins_with_the_examples(browse: Callable[..., Browser]) -> None:
    at = browse("operator")("check_setting", **MILL)
    assert "the form began with the examples" in texts(at)
    assert at.number_input(key="setting_milling_None_torque").value == ROW["torque"]


def test_the_form_says_what_it_began_with_and_begins_anew(
    browse: Callable[..., Browser], reading: dict[str, Any], plant: Client
) -> None:
    user = browse("operator")
    at = user("check_setting", machine="mill-7", **MILL)
    began = next(line for line in texts(at).splitlines() if "The form began" in line)
    plant.predict_rows([FAILING | {"torque": 11.5}], profile="milling", machine="mill-7")
    at.number_input(key="setting_milling_mill-7_torque").set_value(33.0)
    at = pressed(user, at)
    assert at.number_input(key="setting_milling_mill-7_torque").value == 33.0
    assert began[:55] in texts(at)
    at.button(key="setting_milling_mill-7_anew").click()
    at = user.run(at)
    assert at.number_input(key="setting_milling_mill-7_torque").value == 11.5
    assert "counts as failing from" not in texts(at)


def test_what_was_checked_is_still_there_after_a_look_elsewhere(
    browse: Callable[..., Browser], reading: dict[str, Any], engine: Engine
) -> None:
    user = browse("operator")
    at = user("check_setting", machine="mill-7", **MILL)
    at.number_input(key="setting_milling_mill-7_torque").set_value(33.0)
    at = pressed(user, at)
    for path in ("health", "check-setting"):
        at._page_hash = calc_hash(path)
        at = user.run(at)
    assert at.number_input(key="setting_milling_mill-7_torque").value == 33.0
    said = texts(at)
    assert "The form holds what was checked last." in said
    assert "Prediction 2" in said
    assert len(stored(engine)) == 2


def test_a_press_stores_one_row_and_says_why(
    browse: Callable[..., Browser], reading: dict[str, Any], engine: Engine
) -> None:
    user = browse("operator")
    at = pressed(user, user("check_setting", machine="mill-7", **MILL))
    assert [row.source for row in stored(engine)] == [3, 1]  # the machine's own, and this one by the webapp
    said = texts(at)
    for words in (
        "this setting fails",
        "counts as failing from 3.2 % on",
        "**Strain 14,400 min N\\.m, limit 12,000 for quality medium**",
        "Do: Lower the torque",
        "would make it safe",
        "Ways of failing",
        "Overstrain: **",
        "The model and the engineering limits both warn",
        "beyond the limit",
        "What moved the probability",
        "points**",
        "Past cases like it",
        "Prediction 2",
    ):
        assert words in said
    assert len(at.get("vega_lite_chart")) == 1
    # It is drawn again, and not stored again.
    user.run(at)
    assert len(stored(engine)) == 2


def test_a_slider_answers_and_stores_nothing(
    browse: Callable[..., Browser], reading: dict[str, Any], engine: Engine
) -> None:
    user = browse("operator")
    at = pressed(user, user("check_setting", machine="mill-7", **MILL))
    at.slider(key="try_2_tool_wear").set_value(0.0)
    user.run(at)
    said = texts(at)
    assert "Tool wear 240 min → 0 min" in said
    assert "this setting holds" in said
    assert len(at.get("vega_lite_chart")) == 2
    at.button(key="try_2_use").click()
    user.run(at)
    assert at.number_input(key="setting_milling_mill-7_tool_wear").value == 0.0
    assert "The form holds what you tried out" in texts(at)
    assert len(stored(engine)) == 2


def test_back_puts_every_slider_where_it_was(browse: Callable[..., Browser], reading: dict[str, Any]) -> None:
    user = browse("operator")
    at = pressed(user, user("check_setting", machine="mill-7", **MILL))
    at.slider(key="try_2_torque").set_value(12.5)
    user.run(at)
    at.button(key="try_2_back").click()
    user.run(at)
    assert at.slider(key="try_2_torque").value == reading["torque"]
    assert "→" not in texts(at)


def test_what_the_model_has_never_seen_is_marked(browse: Callable[..., Browser]) -> None:
    user = browse("operator")
    at = user("check_setting", **MILL)
    at.number_input(key="setting_milling_None_air_temperature").set_value(281.0)
    said = texts(pressed(user, at))
    assert "Beyond what the model has seen" in said
    assert "Air temperature" in said
    assert "Its answer is a guess there" in said


def test_an_empty_reading_is_named_and_nothing_is_stored(browse: Callable[..., Browser], engine: Engine) -> None:
    user = browse("operator")
    at = user("check_setting", **MILL)
    at.number_input(key="setting_milling_None_torque").set_value(None)
    said = texts(pressed(user, at))
    assert "One reading is empty that has to be there: Torque" in said
    assert stored(engine) == []


def test_rows_that_name_their_machine_need_one(browse: Callable[..., Browser], engine: Engine) -> None:
    user = browse("operator")
    at = user("check_setting", profile="pump")
    assert "Choose a machine, or type its name" in texts(pressed(user, at))
    at = user("check_setting", profile="pump", machine="P-01")
    said = texts(pressed(user, at))
    assert "24 h" in said
    assert len(stored(engine)) == 1
    at = user("check_setting", profile="pump", machine="of another kind")
    assert "does not look like P\\-01" in texts(pressed(user, at))
    assert len(stored(engine)) == 1


def test_a_reading_that_may_be_missing_can_be(browse: Callable[..., Browser], plant: Client, engine: Engine) -> None:
    plant.predict_rows([PUMP_ROW | {"temperature": None}], profile="pump")
    user = browse("operator")
    at = user("check_setting", profile="pump", machine=PUMP_ROW["pump"])
    assert at.number_input(key="setting_pump_P-01_temperature").value is None
    said = texts(pressed(user, at))
    assert "Not known, so there is nothing to move: Bearing temperature" in said
    assert len(stored(engine)) == 2


@pytest.mark.parametrize("asked", [MILL, {"profile": "pump", "machine": "P-01"}])
def test_a_press_of_which_no_answer_came_is_the_same_question(
    browse: Callable[..., Browser], engine: Engine, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    """Also where a row says when it was read, and that is now."""
    user = browse("operator")
    at = user("check_setting", **asked)
    real = Client.predict_rows

    def cut_off(self: Client, *rows: Any, **more: Any) -> Any:
        real(self, *rows, **more)
        raise ApiAway("The line was cut.", "Look at it.")

    with monkeypatch.context() as patch:
        patch.setattr(Client, "predict_rows", cut_off)
        assert "The line was cut" in texts(pressed(user, at))
    assert "counts as failing from" in texts(pressed(user, at))
    assert len(stored(engine)) == 1


def test_a_viewer_and_nobody_are_told_what_it_needs(browse: Callable[..., Browser]) -> None:
    assert "needs the role operator" in texts(browse("viewer")("check_setting"))
    assert "Nobody is signed in" in texts(browse(None)("check_setting"))
