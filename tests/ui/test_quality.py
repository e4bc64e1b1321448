"""Data quality and a file's page: what broke, the way back in for mended rows, and where rows came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from appliance import pipeline
from appliance.client import Client
from tests.api.test_journey import drop, lines
from tests.ui.conftest import Box, Browser, texts


@pytest.fixture
def road(box: Box, token: Callable[..., str]) -> pipeline.Box:
    scheduled = SecretStr(token("operator", "scheduled"))
    more = {"api_url": box.url, "api_token": scheduled, "settle_seconds": 0.0}
    return pipeline.Box(box.settings.model_copy(update=more), box.engine)


@pytest.fixture
def bad(road: pipeline.Box, plant: Client) -> dict[str, Any]:
    """A file of which 4 rows out of 10 have a torque below 0."""
    drop(road.settings, "shift_a.csv", lines(10, bad=4))
    pipeline.ingest(road)
    (file,) = plant.files()
    return file


def test_what_broke_is_told_by_rule_and_column_and_leads_to_the_file(
    browse: Callable[..., Browser], bad: dict[str, Any]
) -> None:
    said = texts(browse("viewer")("quality"))
    assert "**Torque: out of range**" in said
    assert "4 rows in 1 file" in said
    assert "shift\\_a\\.csv" in said
    assert "10 rows in = 6 good + 4 bad" in said
    assert "some bad rows" in said


def test_filters_leave_out_what_was_not_asked_for(browse: Callable[..., Browser], bad: dict[str, Any]) -> None:
    user = browse("viewer")
    at = user("quality")
    at.selectbox(key="quality_criticality").select("high")
    assert "No file came in this time that fits." in texts(user.run(at))
    at.selectbox(key="quality_criticality").select("medium")
    assert "shift\\_a\\.csv" in texts(user.run(at))
    at.selectbox(key="quality_profile").select("pump")
    assert "No row broke a rule in this time." in texts(user.run(at))


def test_a_box_without_files_says_so(browse: Callable[..., Browser]) -> None:
    said = texts(browse("viewer")("quality"))
    assert "No row broke a rule in this time." in said
    assert "No file came in this time that fits." in said


def test_a_file_says_what_is_wrong_with_examples_and_advice(
    browse: Callable[..., Browser], bad: dict[str, Any]
) -> None:
    at = browse("viewer")("file", id=bad["id"])
    said = texts(at)
    assert "Rows in: 10" in said
    assert "**Torque: out of range** · 4 rows" in said
    assert "Check the sensor and its unit." in said
    assert "“\\-5”" in said
    assert next(found.proto.url for found in at.get("link_button")).endswith(f"/files/{bad['id']}/report")
    assert "To hand rows in one needs the role operator." in said
    assert not at.get("file_uploader")


@pytest.mark.parametrize("wrong", ["", "abc", "0", "-1", "99999999999999999999", "7"])
def test_an_address_of_no_file_is_one_sentence(browse: Callable[..., Browser], wrong: str) -> None:
    said = texts(browse("viewer")("file", id=wrong) if wrong else browse("viewer")("file"))
    assert "Choose a file on the page Data quality." in said or "There is no file" in said


def test_an_unreadable_file_says_why(browse: Callable[..., Browser], road: pipeline.Box, plant: Client) -> None:
    drop(road.settings, "other.csv", "a,b\n" + "1,2\n" * 50)
    pipeline.ingest(road)
    (file,) = plant.files()
    assert file["state"] == "quarantined"
    said = texts(browse("viewer")("file", id=file["id"]))
    assert "unreadable" in said
    assert "It was set aside as a whole" in said
    assert "unreadable" in texts(browse("viewer")("quality"))


def test_mended_rows_go_back_in_and_know_where_they_came_from(
    browse: Callable[..., Browser], bad: dict[str, Any], road: pipeline.Box, plant: Client
) -> None:
    user = browse("operator")
    at = user("file", id=bad["id"])
    at.get("file_uploader")[0].set_value(
        ("mended.csv", plant.bad_rows(bad["id"]).replace(b",-5,", b",41.5,", 3), "text/csv")
    )
    user.run(at)
    at.button(key="hand_in").click()
    said = texts(user.run(at))
    assert "3 mended rows were taken" in said
    assert "1 row is still bad" in said
    pipeline.ingest(road)
    pipeline.predict(road)
    (back,) = plant.corrections(bad["id"])
    assert "mended" in texts(user("file", id=bad["id"]))
    assert f"These are mended rows of file {bad['id']}" in texts(user("file", id=back["id"]))


def test_rows_of_which_none_is_mended_are_refused_with_their_reasons(
    browse: Callable[..., Browser], bad: dict[str, Any], plant: Client
) -> None:
    user = browse("operator")
    at = user("file", id=bad["id"])
    at.get("file_uploader")[0].set_value(("bad.csv", plant.bad_rows(bad["id"]), "text/csv"))
    user.run(at)
    at.button(key="hand_in").click()
    said = texts(user.run(at))
    assert "still break the contract" in said
    assert "orque" in said
