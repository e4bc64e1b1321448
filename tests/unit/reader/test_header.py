"""Which columns a file has, under which names, and which files have none that the profile knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import headers
from appliance.errors import FileRefused
from appliance.reader import read_bytes
from tests import profiles
from tests.unit.reader.rows import refusal, text_profile

PUMP = profiles.load("pump")


def header_of(line: str, row: str) -> list[str]:
    with read_bytes(f"\ufeff{line}\n{row}\n".encode(), "csv", PUMP) as reader:
        assert len(list(reader)) == 1
        return reader.header


def test_header_alias_and_name_in_code_all_name_a_column() -> None:
    for name in ("Temperatur [°C]", "Temperatur", "temperature", "  Temperatur ", "Temperatur [\u00b0C]"):
        assert headers.known([name.strip()], PUMP)[name.strip()].name == "temperature"
        assert header_of(f"Pumpe;{name}", "P-01;1") == ["Pumpe", name.strip()]


def test_composed_and_decomposed_letters_are_the_same() -> None:
    profile = profiles.changed("pump", 'header = "Druck [bar]"', 'header = "Größe [bar]"')
    with read_bytes("\ufeffGro\u0308ße [bar]\n1\n".encode(), "csv", profile) as reader:
        assert headers.known(reader.header, profile)["Größe [bar]"].name == "pressure"


@pytest.mark.parametrize("line", ["Pumpe;Pumpe", "Temperatur;Temperatur [°C]", "Temperatur;temperature"])
def test_a_column_that_is_there_twice_is_refused(line: str) -> None:
    assert refusal(f"\ufeff{line}\n1;2\n".encode(), PUMP).reason == "duplicate_column"


def test_columns_without_a_name_or_with_the_same_unknown_one_are_kept_apart() -> None:
    found = header_of("Status;Pumpe;;Status;;*;^.*$;_row;Status (column 4)", "1;2;3;4;5;6;7;8;9")
    assert found[:2] == ["Status", "Pumpe"]
    assert len(set(found)) == len(found) == 8  # _row is our own name and taken off
    assert not {"*", "^.*$", "", "_row"} & set(found)


def test_a_wrong_separator_is_named() -> None:
    refused = refusal(b"Pumpe,Zeitpunkt,Medium\nP-01,x,y\n", PUMP)
    assert refused.reason == "header"
    assert "comma" in refused.message
    assert "semicolon" in refused.message


@pytest.mark.parametrize("line", ["P-01;01.03.2026 08:00:00;water", "x,y,z", "# export 2026", '{"a": 1}'])
def test_a_file_without_a_header_that_is_known_is_refused(line: str) -> None:
    refused = refusal(f"{line}\n{line}\n".encode(), PUMP)
    assert refused.reason == "header"
    assert "Pumpe" in refused.way_out


@given(names=st.lists(st.text(max_size=6), min_size=1, max_size=30))
def test_any_header_gives_as_many_names_all_different(names: list[str]) -> None:
    profile = text_profile()
    known = [headers.tidy(name) for name in names if headers.tidy(name) in ("a", "b", "c", "reading")]
    if len(set(known)) < len(known) or "reading" in known:
        with pytest.raises(FileRefused, match="twice"):
            headers.read([*names, "reading"], profile)
        return
    header = headers.read([*names, "reading"], profile)
    assert len(set(header.names)) == len(names) + 1
    assert set(header.columns) | set(header.own) == set(header.names)
    assert headers.known(header.columns, profile)["reading"].name == "reading"
