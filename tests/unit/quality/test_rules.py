"""Each rule finds what it is there for, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests import profiles
from tests.datasets import dataset
from tests.unit.quality.made import check, one_column, values

MILLING = profiles.load("milling")
PUMP = profiles.load("pump")
HEAD = "UDI,Product ID,Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],Tool wear [min]\n"
PUMP_HEAD = "Pumpe;Zeitpunkt;Medium;Temperatur;vibration;pressure\n"
PUMP_ROW = "P-01;01.03.2026 08:00:00;water;61,5;2,4;6,1\n"


def milling(**cells: str) -> str:
    row = {
        "udi": "1",
        "id": "M14860",
        "type": "M",
        "air": "298.1",
        "process": "308.6",
        "speed": "1551",
        "torque": "42.8",
    }
    return ",".join((row | {"wear": "0"} | cells).values()) + "\n"


def test_every_row_of_the_public_data_set_is_good() -> None:
    result = check(dataset("ai4i2020.csv").read_bytes(), MILLING, batch_rows=3000)
    assert (result.good.height, result.bad.height, result.issues) == (10_000, 0, [])
    assert result.good.select("_row", "udi").rows() == [(n, n) for n in range(1, 10_001)]
    assert result.good["machine_failure"].sum() == 339
    assert result.good["torque"].sum() == pytest.approx(399_869.1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0), (" 5 ", 5.0), ("+5", 5.0), ("-5.25", -5.25), ("5.", 5.0), (".5", 0.5), ("1e5", 1e5), ("1E-3", 1e-3),
        ("0.1", 0.1), ("007", 7.0), ("\t5", 5.0), ("1e-400", 0.0), ("-0", 0.0),
    ],
)  # fmt: skip
def test_numbers_as_machines_write_them(text: str, value: float) -> None:
    assert values(one_column(type="number"), text) == ([value], {})
    assert values(one_column(type="number", file={"separator": ";", "decimal": ","}), text.replace(".", ","))[0] == [
        value
    ]


@pytest.mark.parametrize(
    ("text", "decimal", "sentence"),
    [
        *((bad, ".", "not a number") for bad in ("x", "1,5", "1_000", "0x10", "1 000", "5 K", "1e", "--5", "٣", "5.0.0", "true")),
        *((bad, ",", "not a number with a decimal comma") for bad in ("1.5", "1.000,5", "1,000,5")),
        *((bad, ".", "not a finite number") for bad in ("nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e999", " nan ")),
        ("", ".", "empty"),
        ("   ", ".", "empty"),
    ],
)  # fmt: skip
def test_what_is_no_number(text: str, decimal: str, sentence: str) -> None:
    profile = one_column(type="number", file={"separator": ";", "decimal": decimal})
    assert values(profile, "1", text, "2") == ([1.0, 2.0], {2: f"X: {sentence}"})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "5", 5), ("integer", "5.0", 5), ("integer", "1e3", 1000), ("integer", "-7", -7),
        ("integer", "9223372036854775807", 2**63 - 1), ("integer", "9007199254740993", 2**53 + 1),
        ("boolean", "0", False), ("boolean", "1", True), ("boolean", "TRUE", True), ("boolean", " false ", False),
        ("boolean", "1.0", True),
        ("text", "  a b ", "a b"), ("text", "Größe", "Größe"), ("text", "-5", "-5"), ("text", "a=b", "a=b"),
    ],
)  # fmt: skip
def test_cells_that_are_of_the_type(kind: str, text: str, value: Any) -> None:
    assert values(one_column(type=kind), text) == ([value], {})
    # Among cells that need the slow way, the plain ones come out the same.
    assert values(one_column(type=kind), text, "\x01bad", text)[0] == [value, value]


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("integer", "5.5", "not a whole number"),
        ("integer", "9223372036854775808", "not a whole number"),
        ("integer", "1e16", "not a whole number"),
        ("integer", "inf", "not a finite number"),
        ("boolean", "2", "not one of 0, 1, true, false"),
        ("boolean", "yes", "not one of 0, 1, true, false"),
        ("text", "a\x1b[31mb", "not text of up to 1,000 characters without control characters"),
        ("text", "x" * 1001, "not text of up to 1,000 characters without control characters"),
        ("text", "=1+1", "starts like a formula"),
        ("text", "@SUM(A1)", "starts like a formula"),
        ("text", " +cmd|x", "starts like a formula"),
        ("text", "-2+3", "starts like a formula"),
        ("text", "", "empty"),
    ],
)
def test_cells_that_are_not_of_the_type(kind: str, text: str, sentence: str) -> None:
    assert values(one_column(type=kind), text)[1] == {1: f"X: {sentence}"}


@pytest.mark.parametrize(
    ("cells", "good", "sentence"),
    [
        ({"minimum": 0, "maximum": 100, "unit": "N.m"}, ("0", "100"), "outside of 0 to 100 N.m"),
        ({"minimum": 0}, ("0", "1e300"), "below 0"),
        ({"maximum": 1234567.5}, ("-5", "1234567.5"), "above 1,234,567.5"),
    ],
)
def test_ranges_hold_their_ends(cells: dict[str, Any], good: tuple[str, ...], sentence: str) -> None:
    found, reasons = values(one_column(type="number", **cells), *good, "-0.001", "1234568")
    assert found[:2] == [float(text) for text in good]
    assert set(reasons.values()) == {f"X: {sentence}"}


def test_categories_and_patterns() -> None:
    found, reasons = values(one_column(type="category", categories=["L", "M"]), "L", " M ", "l", "LM", "=L")
    assert (found, set(reasons.values())) == (["L", "M"], {"X: not one of L, M"})
    found, reasons = values(one_column(type="text", pattern="^M[0-9]$", example="M1"), "M1", "M12", "xM1")
    assert (found, set(reasons.values())) == (["M1"], {"X: does not look like M1"})


def test_an_empty_cell_is_fine_where_it_may_be() -> None:
    for column in ({"nullable": True}, {"required": False}):
        assert values(one_column(type="number", **column), "", "1") == ([None, 1.0], {})


def test_bytes_that_cannot_be_decoded_are_named_once() -> None:
    result = check(b"X;Other\nStr\xf6m;1\nok;1\nok;\xff\n", one_column(type="text", pattern="^[a-z]+$"))
    assert result.reasons() == {
        1: "X: holds characters that are no UTF-8",
        3: "Other: holds characters that are no UTF-8",
    }


def test_duplicates_are_bad_where_the_profile_says_so() -> None:
    rows = "1;1\n2;1\n1;1\n1;2\n1;1\n"
    for size in (1, 2, 100):
        result = check(
            "X;Other\n" + rows,
            one_column(type="number", file={"separator": ";", "duplicate_rows": "bad"}),
            batch_rows=size,
        )
        assert set(result.reasons()) == {3, 5}
        assert result.rules() == {("duplicate_row", ""): 2}
        assert check("X;Other\n" + rows, one_column(type="number"), batch_rows=size).bad.height == 0


def test_a_column_that_is_missing_makes_every_row_bad() -> None:
    result = check(HEAD.replace(",Torque [Nm]", "") + milling().replace(",42.8", "") * 3, MILLING)
    assert result.good.height == 0
    assert result.rules()["missing_column", "torque"] == 3
    assert "Torque [Nm]: the column is missing" in result.bad["_reasons"][0]


def test_a_column_that_nobody_knows_is_a_warning() -> None:
    result = check(HEAD.strip() + ",Spindle\n" + milling().strip() + ",=7\n", MILLING)
    assert result.good.height == 1
    assert "Spindle" not in result.good.columns
    assert result.rules() == {("extra_column", "Spindle"): 0}


def test_a_damaged_row_is_not_judged_by_its_cells() -> None:
    result = check(HEAD + milling() + "1,2,x\n", MILLING)
    assert result.reasons() == {2: "The row has too few cells"}
    assert result.bad["_mend"].to_list() == ["3 of 8 cells"]


def test_a_row_tells_all_that_is_wrong_with_it_once() -> None:
    result = check(HEAD + milling(torque="nan", wear="-1", type="Q"), MILLING)
    assert set(result.reasons()[1].split("; ")) == {
        "Torque [Nm]: not a finite number",
        "Tool wear [min]: outside of 0 to 300 min",
        "Type: not one of L, M, H",
    }


def test_examples_are_few_short_and_safe() -> None:
    cells = [f"{n}\x1b]0;{'y' * 100}" for n in range(50)]
    result = check("X;Other\n" + "".join(f'"{cell}";1\n' for cell in cells), one_column(type="text"), batch_rows=7)
    (issue,) = result.issues
    assert (issue.rule, issue.column, issue.count) == ("type", "x", 50)
    assert len(issue.examples) == 5
    assert all(len(example) <= 60 and example.isprintable() for example in issue.examples)
    assert issue.examples[0].startswith("0\\x1b]0;yyy")


def test_the_machine_is_the_folder_and_the_time_the_arrival() -> None:
    result = check(HEAD + milling() * 1, MILLING, origin="Mill 3")
    assert result.good.select("_machine", "_time").rows() == [("Mill 3", datetime(2026, 4, 1, 12, tzinfo=UTC))]


@pytest.mark.parametrize("origin", ["", "  ", "x" * 101, "a\nb"])
def test_without_a_machine_no_row_is_good(origin: str) -> None:
    assert check(HEAD + milling(), MILLING, origin=origin).reasons() == {1: "No name of a machine"}


def test_the_machine_and_the_time_of_a_row_are_its_own() -> None:
    result = check(PUMP_HEAD + PUMP_ROW + PUMP_ROW.replace("01.03.", "01.07.").replace("P-01", "P-02"), PUMP, origin="")
    assert result.good.select("_machine", "_time").rows() == [
        ("P-01", datetime(2026, 3, 1, 7, tzinfo=UTC)),
        ("P-02", datetime(2026, 7, 1, 6, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("25.10.2026 02:30:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # twice that night: the earlier
        ("29.03.2026 03:00:00", datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("29.02.2028 00:00:00", datetime(2028, 2, 28, 23, 0, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_the_zone_of_the_plant(text: str, moment: datetime) -> None:
    assert check(PUMP_HEAD + PUMP_ROW.replace("01.03.2026 08:00:00", text), PUMP).good["_time"].to_list() == [moment]


@pytest.mark.parametrize(
    "text",
    ["29.03.2026 02:30:00", "29.02.2026 00:00:00", "01.03.26 08:00:00", "2026-03-01 08:00:00", "1772352000", "01.03.1969 08:00:00",
     "01.03.2026", "01.03.2026 25:00:00", "01.03.9999 08:00:00", "x"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    result = check(PUMP_HEAD + PUMP_ROW.replace("01.03.2026 08:00:00", text), PUMP)
    assert result.rules() == {("time", "measured_at"): 1}


def test_a_row_without_machine_or_time_is_bad() -> None:
    result = check(PUMP_HEAD + PUMP_ROW.replace("P-01", "") + PUMP_ROW.replace("01.03.2026 08:00:00", ""), PUMP)
    assert result.rules() == {("not_null", "pump"): 1, ("not_null", "measured_at"): 1}
    free = profiles.changed("pump", 'role = "machine"', 'role = "machine"\nnullable = true')
    assert check(PUMP_HEAD + PUMP_ROW.replace("P-01", ""), free).rules() == {("machine", "pump"): 1}
    gone = check(PUMP_HEAD.replace("Pumpe;", "") + PUMP_ROW.replace("P-01;", ""), PUMP)
    assert gone.rules() == {("missing_column", "pump"): 1}


def test_a_format_with_an_offset_needs_no_zone() -> None:
    profile = one_column(
        type="time",
        role="time",
        time={"from": "column", "column": "x", "format": "%Y-%m-%dT%H:%M:%S%z", "zone": "Asia/Tokyo"},
    )
    assert values(profile, "2026-03-01T08:00:00+0200")[0] == [datetime(2026, 3, 1, 6, tzinfo=UTC)]
    seconds = one_column(
        type="time", role="time", time={"from": "column", "column": "x", "format": "%s", "zone": "Asia/Tokyo"}
    )
    assert values(seconds, "1772352000")[0] == [datetime(2026, 3, 1, 8, tzinfo=UTC)]
