"""A prediction's own page: why, what the model saw, what became of it; readable when its model is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from appliance import pipeline
from appliance.client import Client
from appliance.errors import NotFound
from tests.api.test_journey import drop, lines
from tests.api.test_predict import FAILING, PUMP_ROW, ROW
from tests.ui.conftest import Box, Browser, texts
from tests.ui.test_alarms import alarm, press


@pytest.fixture
def failing(plant: Client) -> int:
    """A prediction of mill-1 that fails, after one that does not."""
    answer = plant.predict_rows([ROW, FAILING], profile="milling", machine="mill-1")
    return int(answer["predictions"][1]["id"])


def said(browser: Browser, number: Any, page: str = "prediction") -> str:
    return texts(browser(page, id=number)).replace("\\", "")


def test_a_prediction_says_why_and_what_the_model_saw(browse: Callable[..., Browser], failing: int) -> None:
    at = browse("viewer")("prediction", id=failing)
    found = texts(at).replace("\\", "")
    for words in (
        f"Prediction {failing}",
        "this setting fails",
        "**Strain 14,400 min N.m, limit 12,000 for quality medium**",
        "Do: Lower the torque",
        "would make it safe",
        "What moved the probability",
        "Ways of failing",
        "The model and the engineering limits both warn",
        "What the model saw",
        "| Torque | 60.0 N.m |",
        "| Strain | 14,400 min N.m |",
        "Past cases like it",
        "API",
        "Machine mill-1",
        "The reading before, of",
        "Nobody has told what became of it.",
        "one needs the role operator",
    ):
        assert words in found
    assert len(at.get("vega_lite_chart")) == 1


def test_categories_are_words_again(browse: Callable[..., Browser], failing: int) -> None:
    assert "| Quality | medium |" in said(browse("viewer"), failing)


def test_a_reading_that_was_missing_is_not_known(browse: Callable[..., Browser], plant: Client) -> None:
    answer = plant.predict_rows([PUMP_ROW | {"temperature": None}], profile="pump")
    assert "| Bearing temperature | not known |" in said(browse("viewer"), answer["predictions"][0]["id"])


def test_a_question_of_somebody_has_no_outcome(browse: Callable[..., Browser], plant: Client) -> None:
    answer = plant.predict_rows([FAILING], profile="milling")
    at = browse("operator")("prediction", id=answer["predictions"][0]["id"])
    assert "no machine's reading" in texts(at)
    assert not at.radio


def test_a_row_of_a_file_leads_to_its_file_and_back(browse: Callable[..., Browser], box: Box, token: Any) -> None:
    known = {"api_url": box.url, "api_token": SecretStr(token("operator", "scheduled")), "settle_seconds": 0.0}
    road = pipeline.Box(box.settings.model_copy(update=known), box.engine)
    drop(road.settings, "shift_a.csv", lines(4))
    pipeline.ingest(road)
    pipeline.predict(road)
    with Client(box.url, token("viewer", "api")) as api:
        (file,) = api.files()
        newest = next(api.predictions(at_most=1))
    user = browse("viewer")
    found = said(user, newest["id"])
    assert f"Row {newest['row']} of file {file['id']}" in found
    assert "scheduled" in found
    at = user("file", id=file["id"])
    assert "Its predictions" in texts(at)
    at = user("predictions", span="all", file=file["id"])
    assert "**4 predictions**" in texts(at)
    assert f"Rows of file {file['id']} alone." in texts(at)
    at.button(key="past_any_file").click()
    assert "alone." not in texts(user.run(at))
    assert at.query_params == {"span": "all"}


def test_an_operator_says_what_became_of_it(browse: Callable[..., Browser], plant: Client, failing: int) -> None:
    user = browse("operator")
    at = user("prediction", id=failing)
    once = at.session_state[f"prediction_{failing}_once"]
    at.radio(key=f"prediction_{failing}_kind_{once}").set_value("failure")
    at.text_area(key=f"prediction_{failing}_note_{once}").set_value("insert broken")
    at = press(user, at, "Note it")
    (told,) = plant.outcomes()
    assert (told["kind"], told["predicted"]["prediction_id"], told["who"]) == ("failure", failing, "user-operator")
    found = texts(at)
    assert "insert broken" in found
    assert "Nobody has told what became of it." not in found
    # The machine's other rows have nothing to do with it.
    assert "Nobody has told what became of it." in said(user, failing - 1)


def test_rows_of_an_alarm_lead_to_it(browse: Callable[..., Browser], plant: Client) -> None:
    opened = alarm(plant)
    found = said(browse("viewer"), opened["first_prediction_id"])
    assert f"Alarm {opened['id']}" in found
    assert "It is among the rows of this alarm." in found


@pytest.mark.parametrize("number", ["", "x", "0", "-3", "²", "99999999999999999999", "4711"])
def test_an_address_of_no_prediction_is_one_sentence(browse: Callable[..., Browser], number: str) -> None:
    found = said(browse("viewer"), number)
    assert "Choose a prediction on the page" in found or "There is no prediction 4711." in found


def test_it_stays_readable_when_its_model_is_gone(
    browse: Callable[..., Browser], failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Client, number: int, **more: Any) -> Any:
        raise NotFound("Its model is not installed any more.", "Install it again.")

    monkeypatch.setattr(Client, "explain", gone)
    found = said(browse("viewer"), failing)
    for words in ("this setting fails", "Its model is not installed any more.", "Overstrain", "| Torque | 60.0 N.m |"):
        assert words in found


def test_a_link_to_it_survives_the_sign_in(browse: Callable[..., Browser], failing: int) -> None:
    at = browse(None)("prediction", id=failing)
    (link,) = [found.body for found in at.get("html") if "sign-in" in found.body]
    assert f"/sign-in?next=http%3A%2F%2F127.0.0.1%3A8501%2Fprediction%3Fid%3D{failing}" in link
