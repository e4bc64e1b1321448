"""The form of one row: every profile and every type, there and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from appliance.api import schema
from appliance.client import Client
from appliance.profile import Column, Profile
from tests import counts, profiles
from ui import form

BERLIN = ZoneInfo("Europe/Berlin")
TYPES = ("number", "integer", "category", "text", "boolean", "time")


def dumped(profile: Profile) -> dict[str, Any]:
    """As the API tells it."""
    return profile.model_dump(mode="json", by_alias=True)


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    """Any column that a profile can have."""
    kind = draw(st.sampled_from(TYPES))
    more: dict[str, Any] = {"role": "time"} if kind == "time" else {}
    if kind in ("number", "integer"):
        low = draw(st.none() | st.floats(-1e12, 1e12))
        high = draw(st.none() | st.floats(0, 1e12)) if low is None else draw(st.none() | st.floats(low, 2e12))
        more |= {"minimum": low, "maximum": high, "decimals": draw(st.none() | st.integers(0, 9))}
    if kind == "category":
        names = st.text(min_size=1, max_size=8)
        more["categories"] = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    more |= {"required": draw(st.booleans()), "nullable": draw(st.booleans())}
    return Column(name="x", header="x", title="X", type=kind, **more).model_dump(mode="json")


@st.composite
def cells(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """A column and a value that its contract lets pass."""
    column = draw(columns())
    low, high = column["minimum"], column["maximum"]
    value: st.SearchStrategy[Any]
    match column["type"]:
        case "number":
            value = st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "integer":
            least, most = form.bounds(column)
            value = st.integers(least, most) if least <= most else st.none()
        case "category":
            value = st.sampled_from(column["categories"])
        case "boolean":
            value = st.booleans()
        case "text":
            value = st.text(min_size=1, max_size=20).map(str.strip).filter(bool)
        case _:
            value = st.none()
    return column, draw(value | st.none())


@given(cells())
def test_every_value_comes_back_as_it_was(cell: tuple[dict[str, Any], Any]) -> None:
    column, value = cell
    back = form.taken(column, form.put(column, value), BERLIN)
    if column["type"] == "time":
        assert datetime.fromisoformat(back).tzinfo is not None
    else:
        assert back == value
        assert type(back) is type(value) or isinstance(value, int | float)


junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(columns(), junk)
def test_what_a_widget_cannot_show_is_left_out(column: dict[str, Any], value: Any) -> None:
    """A profile that was mended meets readings of before."""
    shown = form.put(column, value)
    if shown is not None and column["type"] in ("number", "integer"):
        low, high = form.bounds(column)
        assert low is None or shown >= low
        assert high is None or shown <= high
        assert isinstance(shown, float if column["type"] == "number" else int)


@given(st.floats(-1e6, 1e6).map(lambda x: round(x, 6)), st.none() | st.integers(0, 9))
def test_a_number_is_shown_as_it_is(value: float, decimals: int | None) -> None:
    assert float(f"{value:.{form.digits({'decimals': decimals}, value)}f}") == value


def test_a_time_that_a_person_types_is_plant_time() -> None:
    column = dumped(profiles.load("pump"))["columns"][1]
    assert column["type"] == "time"
    assert form.taken(column, datetime(2026, 3, 1, 8, 30), BERLIN) == "2026-03-01T08:30:00+01:00"


@pytest.mark.parametrize("name", profiles.NAMES)
def test_the_form_asks_for_all_that_the_contract_needs(name: str) -> None:
    profile = profiles.load(name)
    asked = {column["name"] for column in form.columns(dumped(profile))}
    needed = {column.name for column in profile.columns if schema.needed(column)}
    assert needed <= asked | {column.name for column in profile.with_role("machine")}
    assert not asked & {column.name for column in (*profile.with_role("label"), *profile.with_role("mode"))}


def _page(profile, values):  # type: ignore[no-untyped-def]  # its source alone is run, without what this file imports
    """A page that is nothing but the form, run by Streamlit."""
    from types import SimpleNamespace
    from typing import Any, cast
    from zoneinfo import ZoneInfo

    import streamlit as st

    from ui import form

    if not form.started(profile, "k"):
        form.start(profile, "k", values)
    filled = form.draw(cast(Any, SimpleNamespace(zone=ZoneInfo("Europe/Berlin"))), profile, "k")
    st.session_state["_row"], st.session_state["_missing"] = filled.row, filled.missing


def drawn(profile: dict[str, Any], values: dict[str, Any]) -> AppTest:
    at = AppTest.from_function(_page, args=(profile, values), default_timeout=30).run()
    assert not at.exception, [found.value for found in at.exception]
    return at


@pytest.mark.parametrize("name", profiles.NAMES)
@settings(max_examples=counts.examples(25))
@given(data=st.data())
def test_a_row_comes_back_out_of_its_form(name: str, data: st.DataObject) -> None:
    profile = dumped(profiles.load(name))
    row: dict[str, Any] = {}
    for column in form.columns(profile):
        low, high = column["minimum"], column["maximum"]
        match column["type"]:
            case "number":
                row[column["name"]] = data.draw(st.floats(low, high))
            case "category":
                row[column["name"]] = data.draw(st.sampled_from(column["categories"]))
    at = drawn(profile, row)
    found = dict(at.session_state["_row"])
    for column in form.columns(profile):
        if column["type"] == "time":
            found.pop(column["name"])
    assert found == row
    assert at.session_state["_missing"] == []


def test_every_type_has_a_widget_and_empty_ones_are_named() -> None:
    made = [
        Column(name=f"c_{kind}_{turn}", header="h", title=f"{kind} {turn}", type=kind, **more).model_dump(mode="json")
        for kind in TYPES
        if kind != "time"
        for turn, more in (
            ("must", {}), ("may", {"nullable": True}), ("optional", {"required": False}),
        )
        for more in [more | ({"categories": ["a", "b"]} if kind == "category" else {})]
    ]  # fmt: skip
    at = drawn({"columns": made}, {})
    assert at.session_state["_missing"] == ["number must", "integer must", "category must", "text must", "boolean must"]
    assert at.session_state["_row"] == {f"c_{kind}_may": None for kind in TYPES if kind != "time"}
    values = {"number": 1.25, "integer": 7, "category": "b", "text": "left", "boolean": False}
    row = {column["name"]: values[column["type"]] for column in made}
    at = drawn({"columns": made}, row)
    assert at.session_state["_row"] == row
    assert len(at.number_input) + len(at.selectbox) + len(at.text_input) == len(made)


@pytest.mark.parametrize("name", profiles.NAMES)
def test_what_the_form_makes_of_the_examples_is_a_row_that_the_api_takes(plant: Client, name: str) -> None:
    profile = profiles.load(name)
    example = schema.example_row(profile)
    row = drawn(dumped(profile), example).session_state["_row"]
    machine = {column.name: example[column.name] for column in profile.with_role("machine")}
    assert plant.what_if({**row, **machine}, profile=name)["verdict"]
