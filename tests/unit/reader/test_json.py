"""JSON rows, strictly: a type is what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from appliance.api import schema
from appliance.jsonrows import rows_to_batch, sound
from appliance.quality import Checked, Checker
from tests import counts, profiles

PUMP = profiles.load("pump")
ROW = {
    "pump": "P-01",
    "measured_at": "2026-03-01T08:00:00+01:00",
    "fluid": "water",
    "temperature": 61.5,
    "vibration": 2,
    "pressure": 6.1,
}


def checked(*rows: dict[str, Any]) -> Checked:
    batch = rows_to_batch(rows, PUMP)
    return Checker(PUMP, batch.header, "", datetime(2026, 4, 1, tzinfo=UTC)).check(batch)


def test_a_sound_row_is_good() -> None:
    good = checked(ROW, ROW | {"temperature": None, "failed": True}).good
    assert good["_time"].to_list() == [datetime(2026, 3, 1, 7, tzinfo=UTC)] * 2
    assert good["temperature"].to_list() == [61.5, None]
    assert good["vibration"].to_list() == [2.0, 2.0]
    assert good["failed"].to_list() == [None, True]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("vibration", "2", "type"),
        ("vibration", True, "type"),
        ("vibration", [2], "type"),
        ("vibration", {}, "type"),
        ("vibration", float("nan"), "not_finite"),
        ("vibration", float("inf"), "not_finite"),
        pytest.param("vibration", 10**400, "not_finite", id="huge"),
        pytest.param("vibration", 10**5000, "type", id="digits"),
        ("vibration", -1, "range"),
        ("vibration", None, "not_null"),
        ("fluid", 5, "type"),
        ("fluid", "Water", "category"),
        ("fluid", "", "not_null"),
        ("pump", True, "type"),
        ("pump", "=1+1", "formula"),
        ("failed", 1, "type"),
        ("failed", "true", "type"),
        ("measured_at", "2026-03-01T08:00:00", "time"),
        ("measured_at", "01.03.2026 08:00:00", "time"),
        ("measured_at", 5, "time"),
        ("measured_at", "0001-01-01T00:00:00+14:00", "time"),
        ("measured_at", "1960-01-01T00:00:00Z", "time"),
        ("unheard_of", 1, "extra_column"),
        ("temperatur", 1, "extra_column"),
    ],
)
def test_a_wrong_value_makes_its_row_bad_and_no_other(name: str, value: object, rule: str) -> None:
    found = checked(ROW, ROW | {name: value}, ROW)
    assert found.good["_row"].to_list() == [1, 3]
    assert found.bad["_row"].to_list() == [2]
    assert (rule, name) in {(issue.rule, issue.column) for issue in found.issues}
    assert found.bad["_reasons"][0].count(name) == 1


@pytest.mark.parametrize("name", list(ROW))
def test_a_required_key_may_not_be_left_out(name: str) -> None:
    found = checked(ROW, {key: value for key, value in ROW.items() if key != name})
    assert found.good["_row"].to_list() == [1]
    assert [(issue.rule, issue.column, issue.count) for issue in found.issues] == [("missing_column", name, 1)]


def test_whole_numbers_have_no_point() -> None:
    milling = profiles.load("milling")
    for value, whole in ((5, True), (5.0, False), (True, False), (2**53 + 1, True), (2**63, False)):
        batch = rows_to_batch([{"udi": value}], milling)
        issues = Checker(milling, batch.header, "M1", datetime(2026, 4, 1, tzinfo=UTC)).check(batch).issues
        assert ("udi" not in {issue.column for issue in issues if issue.rule == "type"}) == whole


def test_thousands_of_unknown_keys_cost_little() -> None:
    batch = rows_to_batch([{f"k{n}": 1 for n in range(5000)}] * 20, PUMP)
    assert len(batch.faults) < 50
    assert not checked({f"k{n}": 1 for n in range(5000)}).good.height


def test_no_rows_and_empty_rows_are_taken() -> None:
    assert rows_to_batch([], PUMP).rows == 0
    assert checked({}).bad.height == 1
    assert rows_to_batch([{}], PUMP).frame.schema["vibration"] == pl.String


MILL = schema.contract_of_json(profiles.load("milling"))
NOW = datetime(2026, 4, 1, tzinfo=UTC)
SOUND = schema.example_row(MILL)
_numbers = st.floats(allow_nan=True) | st.integers() | st.floats(-10, 400) | st.integers(-10, 4100)
_values = _numbers | st.booleans() | st.none() | st.sampled_from(["L", "M", "H", "l", " L", "", "5"])
_changes = st.dictionaries(
    st.sampled_from([*(column.name for column in MILL.columns), "unheard_of"]), _values, max_size=2
)


def _both(rows: list[dict[str, Any]]) -> tuple[pl.DataFrame | None, Checked]:
    """What the quick look leaves, and what the close one does."""
    typed, taken = sound(rows, MILL), None
    if typed is not None:
        taken = Checker(MILL, typed.columns[1:], "mill-1", NOW, duplicates=False).taken(typed)
    batch = rows_to_batch(rows, MILL)
    return taken, Checker(MILL, batch.header, "mill-1", NOW, duplicates=False).check(batch)


@example(changes=[{"udi": 2**53}], left_out=set())
@example(changes=[{"torque": 0}, {"torque": 100}], left_out=set())
@example(changes=[{"twf": True, "udi": 5}], left_out=set())
@settings(max_examples=counts.examples(300), deadline=None)
@given(
    changes=st.lists(_changes, min_size=1, max_size=4),
    left_out=st.sets(st.sampled_from([column.name for column in MILL.columns]), max_size=1),
)
def test_a_quick_look_takes_what_a_close_one_takes(changes: list[dict[str, Any]], left_out: set[str]) -> None:
    rows = [{k: v for k, v in (SOUND | change).items() if k not in left_out} for change in changes]
    taken, close = _both(rows)
    if taken is not None:
        assert close.bad.height == 0
        assert_frame_equal(taken, close.good)


@pytest.mark.parametrize("change", [{}, {"speed": 1500}, {"type": "H"}, {"udi": 7}, {"twf": False}])
def test_sound_rows_need_no_more_than_a_quick_look(change: dict[str, Any]) -> None:
    taken, close = _both([SOUND | change] * 3)
    assert taken is not None
    assert_frame_equal(taken, close.good)


@pytest.mark.parametrize(
    "change", [{"torque": 100.1}, {"torque": float("nan")}, {"torque": True}, {"torque": 10**400}, {"type": "X"}]
)
def test_what_is_not_plainly_sound_is_looked_at(change: dict[str, Any]) -> None:
    assert _both([SOUND, SOUND | change])[0] is None


def test_a_rule_that_a_quick_look_does_not_know_is_left_to_the_close_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sound([SOUND], MILL) is not None
    monkeypatch.setattr("appliance.jsonrows._JUDGED", frozenset(("not_null", "not_finite", "category")))
    assert sound([SOUND], MILL.model_copy()) is None  # what is known of a profile is known by its identity


def test_a_row_that_does_not_say_its_machine_is_looked_at() -> None:
    typed = sound([SOUND], MILL)
    assert typed is not None
    assert Checker(MILL, typed.columns[1:], "", NOW, duplicates=False).taken(typed) is None
