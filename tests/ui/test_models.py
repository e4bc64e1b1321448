"""Models: who serves, the card, and the way to another one for those who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.client import Client
from tests.api.conftest import Shelf
from tests.ui.conftest import Box, Browser, texts


@pytest.fixture
def api(box: Box, token: Callable[..., str]) -> Client:
    return box.client(token("engineer"))


def active(api: Client) -> str:
    return next(item["version"] for item in api.models("milling") if item["active"])


def test_a_viewer_reads_cards_and_is_told_why_no_more(browse: Callable[..., Browser], shelf: Shelf) -> None:
    at = browse("viewer")("models")
    said = texts(at)
    for version in shelf.milling:
        assert version.replace("-", "\\-") in said
    assert "one needs the role engineer, and you have the role viewer" in said
    assert "#### " not in said
    assert "### How good it is" in said
    assert "Failures found: " in said
    assert len(at.session_state["_plots"]) == 3
    assert not [button for button in at.button if button.key in ("activate", "rollback")]


def test_an_engineer_activates_and_goes_back_each_after_a_question(
    browse: Callable[..., Browser], shelf: Shelf, api: Client
) -> None:
    user = browse("engineer")
    at = user("models")
    at.button(key="activate").click()
    said = texts(user.run(at))
    assert f"Let {shelf.milling[1]} predict from now on?".replace("-", "\\-") in said
    at.button(key="models_no").click()
    user.run(at)
    assert active(api) == shelf.milling[0]
    at.button(key="activate").click()
    user.run(at)
    at.button(key="models_yes").click()
    assert "predicts from now on" in texts(user.run(at))
    assert active(api) == shelf.milling[1]
    at.button(key="rollback").click()
    user.run(at)
    at.button(key="models_yes").click()
    assert "predicts from now on" in texts(user.run(at))
    assert active(api) == shelf.milling[0]


def test_a_model_that_cannot_be_trusted_says_why_and_cannot_be_chosen(
    browse: Callable[..., Browser], shelf: Shelf, box: Box
) -> None:
    (box.settings.models / "milling" / shelf.milling[1] / "card.md").write_text("changed")
    at = browse("engineer")("models")
    assert "cannot be trusted" in texts(at)
    assert not [one for one in at.selectbox if one.key == "models_version" and shelf.milling[1] in one.options]


def test_models_of_another_kind_of_equipment_are_a_choice_away(browse: Callable[..., Browser], shelf: Shelf) -> None:
    user = browse("viewer")
    at = user("models")
    at.selectbox(key="models_profile").select("pump")
    assert shelf.pump.replace("-", "\\-") in texts(user.run(at))
