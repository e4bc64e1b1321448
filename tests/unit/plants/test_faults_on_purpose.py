"""Each fault spoils just what it says, judged by a plain second reading of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import profile as profiles
from appliance.errors import UsageError
from appliance.profile import Profile
from model import faults
from model.plants import PLANTS, csv_bytes
from tests import counts
from tests.unit.plants.oracle import Unreadable, bad_rows, known_cells

PROMISED = [
    "null",
    "wrong-type",
    "out-of-range",
    "unknown-category",
    "bad-identifier",
    "missing-column",
    "extra-column",
    "duplicated-column",
    "reordered-columns",
    "duplicate-rows",
    "duplicate-file",
    "truncated-file",
    "wrong-encoding",
    "nul-bytes",
    "empty-file",
    "nan-inf",
    "formula-cells",
    "header-only",
    "compressed-in-disguise",
    "wrong-separator",
]

OVEN = """
schema = 1
name = "oven"
title = "Oven"
words = { failing = "fails", passing = "holds" }
file = { separator = "\\t", encoding = "utf-16", duplicate_rows = "bad" }
machine = { from = "constant", value = "oven 1" }
time = { from = "arrival" }
model = { inputs = ["heat"] }
costs = { missed_failure = 10, false_alarm = 1 }

[[columns]]
name = "batch"
header = "Batch no."
title = "Batch"
role = "identifier"
type = "text"
pattern = "^B-[0-9]+$"

[[columns]]
name = "heat"
header = "Heat, inner"
title = "Heat"
type = "number"
maximum = 900

[[columns]]
name = "colour"
header = "Colour"
title = "Colour"
type = "category"
categories = ["red", "white"]
"""
OVEN_ROWS = "".join(f'B-{n}\t{800 + n / 8}\t"{("red", "white")[n % 2]}"\n' for n in range(40))


def sound_file(name: str) -> tuple[bytes, Profile]:
    if name == "oven":
        return ("Batch no.\tHeat, inner\tColour\n" + OVEN_ROWS).encode("utf-16"), profiles.parse(OVEN)
    plant = PLANTS[name]()
    return csv_bytes(plant, 60, seed=5), plant.profile


FILES = {name: sound_file(name) for name in ("milling", "pump", "oven")}


@pytest.fixture(params=FILES)
def sound(request: pytest.FixtureRequest) -> tuple[bytes, Profile]:
    return FILES[request.param]


def test_all_promised_kinds_are_there() -> None:
    assert set(PROMISED) <= set(faults.FAULTS)
    for name, fault in faults.FAULTS.items():
        assert fault.name == name
        assert fault.description
        assert fault.expected in ("rows", "file", "none")


def test_the_sound_files_are_sound(sound: tuple[bytes, Profile]) -> None:
    data, profile = sound
    assert bad_rows(data, profile) == []
    assert len(known_cells(data, profile)) in (40, 60)


@pytest.mark.parametrize("name", faults.FAULTS)
@pytest.mark.parametrize("file", FILES)
@settings(max_examples=counts.examples(25))
@given(seed=st.integers(0, 2**32))
def test_a_fault_spoils_what_it_says(file: str, name: str, seed: int) -> None:
    data, profile = FILES[file]
    made = faults.spoil(name, data, profile, seed)
    assert made.data != data or name == "duplicate-file"
    assert made == faults.spoil(name, data, profile, seed)
    if made.expected == "file":
        assert not made.bad_rows
        with pytest.raises(Unreadable):
            bad_rows(made.data, profile)
        return
    assert bad_rows(made.data, profile) == list(made.bad_rows)
    assert bool(made.bad_rows) == (made.expected == "rows")


@pytest.mark.parametrize("name", faults.FAULTS)
def test_what_is_expected_follows_the_registry(sound: tuple[bytes, Profile], name: str) -> None:
    data, profile = sound
    made = faults.spoil(name, data, profile, 1)
    kept = name == "duplicate-rows" and profile.file.duplicate_rows == "keep"
    assert made.expected == ("none" if kept else faults.FAULTS[name].expected)


@pytest.mark.parametrize("name", ["extra-column", "reordered-columns", "crlf", "duplicate-file"])
def test_harmless_faults_leave_every_cell(sound: tuple[bytes, Profile], name: str) -> None:
    data, profile = sound
    made = faults.spoil(name, data, profile, 3)
    assert known_cells(made.data, profile) == known_cells(data, profile)
    assert made.rows == len(known_cells(data, profile))


@pytest.mark.parametrize("name", [f.name for f in faults.FAULTS.values() if f.expected == "rows"])
def test_rows_that_are_not_spoiled_stay_as_they_were(sound: tuple[bytes, Profile], name: str) -> None:
    data, profile = sound
    made = faults.spoil(name, data, profile, 2)
    before, after = known_cells(data, profile), known_cells(made.data, profile)
    assert len(after) == made.rows
    for number, cells in enumerate(after, start=1):
        assert number in made.bad_rows or cells in before
    if name not in ("truncated-file", "duplicate-rows"):
        assert made.rows == len(before)


def test_files_differ_in_how_bad_they_are() -> None:
    data, profile = FILES["milling"]
    shares = {len(faults.spoil("null", data, profile, seed).bad_rows) / 60 for seed in range(40)}
    assert min(shares) < 0.1 < 0.2 < 0.5 < max(shares)


def test_only_possible_faults_are_chosen() -> None:
    bare = profiles.parse(OVEN.partition('[[columns]]\nname = "colour"')[0].replace('pattern = "^B-[0-9]+$"', ""))
    names = {fault.name for fault in faults.chosen([], bare)}
    assert names == set(faults.FAULTS) - {"unknown-category", "bad-identifier"}
    with pytest.raises(UsageError, match="not possible for oven"):
        faults.chosen(["unknown-category"], bare)
    with pytest.raises(UsageError, match="no fault 'nil'"):
        faults.chosen(["nil"], bare)


def test_no_plant_s_words_stand_in_the_code_of_faults() -> None:
    text = Path(faults.__file__).read_text(encoding="utf-8")
    for plant in PLANTS.values():
        for column in plant().profile.columns:
            assert f'"{column.header}"' not in text
            assert f'"{column.name}"' not in text
