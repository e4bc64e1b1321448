"""Checking a file: what is bad first, then the good rows part by part, and a page that finds it again."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from appliance import bundle, signing
from appliance.client import Client
from appliance.errors import ApiAway
from tests.api.conftest import Shelf
from tests.api.test_file_checks import REFUSED, mill_csv, small_parts, stored  # noqa: F401 - a fixture among them
from tests.ui.conftest import Box, Browser, texts

SPOILT = {3: "much", 60: "999", 61: "<b>9</b>"}


def look_at(user: Browser, content: bytes, name: str = "shift.csv", machine: str | None = "mill-1") -> AppTest:
    at = user("check_file", **({"machine": machine} if machine else {}))
    at.get("file_uploader")[0].set_value((name, content, "text/csv"))
    user.run(at)
    at.button(key="upload_look").click()
    return user.run(at)


@pytest.fixture
def operator(browse: Callable[..., Browser]) -> Browser:
    return browse("operator")


@pytest.mark.usefixtures("small_parts")
def test_what_is_bad_comes_first_and_then_the_good_rows(operator: Browser, engine: Engine) -> None:
    at = look_at(operator, mill_csv(150, spoilt=SPOILT))
    said = texts(at)
    assert "File shift\\.csv" in said
    assert "Rows in: 150" in said
    assert "Bad: 3" in said
    assert "150 rows = 147 good \\+ 3 bad".replace("\\", "") in said
    assert "**Torque: out of range** · 1 row" in said
    assert "Check the sensor and its unit." in said
    (table,) = tables(at)
    assert '<td data-head="Row">60</td>' in table
    assert "999" in table
    assert "&lt;b&gt;9&lt;/b&gt;" in table
    assert stored(engine) == 0
    check = at.query_params["check"]
    assert links(at) == [f"/file-checks/{one(check)}/bad"]

    at.button(key="upload_predict").click()
    said = texts(operator.run(at))
    assert "147 rows are predicted and stored\\." in said
    assert "Predicted: 147" in said
    assert stored(engine) == 147
    assert links(at)[1:] == [f"/file-checks/{one(check)}/result{end}" for end in ("", "?format=parquet")]
    assert len(at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")) == 2
    rows = tables(at)[-1]
    assert rows.count("<tr>") == 26
    assert "Torque (N.m)" in rows
    assert "/prediction?id=" in rows


@pytest.mark.usefixtures("small_parts")
def test_a_page_that_is_opened_again_goes_on_where_it_was(
    operator: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = look_at(operator, mill_csv(100))
    check = one(at.query_params["check"])
    predict = Client.predict_next
    calls = []

    def away_after_the_first(api: Client, check_id: str) -> Any:
        calls.append(check_id)
        if len(calls) > 1:
            raise ApiAway("There is no API.", "Wait.")
        return predict(api, check_id)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "predict_next", away_after_the_first)
        at.button(key="upload_predict").click()
        assert "There is no API" in texts(operator.run(at))
    assert stored(engine) == 40

    # Another window of the same person: by the address, and by the list.
    assert "40 rows predicted" in texts(operator("check_file"))
    at = operator("check_file", check=check)
    said = texts(at)
    assert "Predicted: 40" in said
    assert "60 rows are not predicted yet" in said
    assert at.button(key="upload_predict").label == "Go on: 60 rows are left"
    at.button(key="upload_predict").click()
    assert "100 rows are predicted and stored" in texts(operator.run(at))
    assert stored(engine) == 100


@pytest.mark.usefixtures("small_parts")
def test_rows_are_listed_the_likeliest_first_and_by_verdict(operator: Browser, plant: Client) -> None:
    at = look_at(operator, mill_csv(150))
    at.button(key="upload_predict").click()
    operator.run(at)
    key = f"upload_rows_{one(at.query_params['check'])}_more"
    at.button(key=key).click()
    operator.run(at)
    assert tables(at)[-1].count("<tr>") == 126
    at.segmented_control(key="upload_verdict").select("failing")
    operator.run(at)
    failing = tables(at)[-1]
    assert "▲" in failing
    assert "✓" not in failing


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_file_gets_one_sentence(operator: Browser, what: str) -> None:
    at = look_at(operator, REFUSED[what])
    if "check" in at.query_params:
        assert "Not one row of this file is good" in texts(at)
        return
    (error,) = at.error
    assert error.value.strip()
    assert "\n" not in error.value
    assert at.get("file_uploader"), "one can hand in another"


def test_parquet_is_taken_by_its_name(operator: Browser) -> None:
    buffer = io.BytesIO()
    pl.read_csv(mill_csv(30, spoilt={4: "999"})).write_parquet(buffer)
    assert "Good: 29" in texts(look_at(operator, buffer.getvalue(), "a.parquet"))


def test_a_file_without_a_machine_is_of_none(operator: Browser, plant: Client) -> None:
    plant.predict_file(mill_csv(3), format="csv", profile="milling", machine="mill-7")
    at = operator("check_file")
    assert at.selectbox(key="upload_machine_milling").value is None
    at = look_at(operator, mill_csv(20), machine=None)
    assert "mill" not in texts(at).replace("milling", "")


def test_bytes_are_let_go_of_once_they_are_handed_on(operator: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

    gone: list[str] = []
    monkeypatch.setattr(
        MemoryUploadedFileManager, "remove_file", lambda self, session_id, file_id: gone.append(file_id)
    )
    look_at(operator, mill_csv(20))
    assert len(gone) == 1


@pytest.mark.parametrize("given", ["0" * 32, "../etc", "7", "x" * 300])
def test_one_that_is_gone_is_said(operator: Browser, given: str) -> None:
    at = operator("check_file", check=given)
    assert "This checked file is not here any more" in texts(at)
    assert at.get("file_uploader")


def test_a_file_can_be_removed(operator: Browser) -> None:
    at = look_at(operator, mill_csv(20))
    at.button(key="upload_forget").click()
    said = texts(operator.run(at))
    assert "The file is removed" in said
    assert "Handed in lately" not in said


def test_a_model_that_changed_meanwhile_is_said(operator: Browser, box: Box, shelf: Shelf) -> None:
    at = look_at(operator, mill_csv(20))
    keys = signing.trusted_keys(box.settings.keys)
    bundle.activate(box.settings.models, "milling", shelf.milling[1], keys)
    with Client(box.url, session=operator.cookie) as api:
        for _ in range(200):
            if api.profile("milling")["model_version"] == shelf.milling[1]:
                break
            time.sleep(0.1)
    at.button(key="upload_predict").click()
    said = texts(operator.run(at))
    assert "The model was changed" in said
    assert "Hand the file in again" in said
    assert at.button(key="upload_predict")


def test_a_viewer_is_told_what_role_it_needs(browse: Callable[..., Browser]) -> None:
    assert "This page needs the role operator" in texts(browse("viewer")("check_file"))


def test_a_station_is_asked_who_stands_there(browse: Callable[..., Browser]) -> None:
    at = browse("operator", station=True)("check_file")
    assert "Say first who you are" in texts(at)
    assert not at.get("file_uploader")


def one(given: Any) -> str:
    """A value of the address: AppTest has a list of them."""
    return given[0] if isinstance(given, list) else str(given)


def tables(at: AppTest) -> list[str]:
    return [str(found.proto.body) for found in at.get("html") if "<table" in found.proto.body]


def links(at: AppTest) -> list[str]:
    """Of the API, without its address."""
    return ["/" + found.proto.url.split("/", 3)[3] for found in at.get("link_button")]
