"""Everything that is wrong with files in a real plant, done on purpose, with a record of which rows it spoiled.

What is a number, a category, an identifier, a separator or an encoding comes from the profile, so every fault works
for every kind of equipment. A fault takes the cells of a sound file and gives the bytes of a spoiled one.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from appliance.errors import UsageError
from appliance.profile import Column, Profile
from model.plants.table import Table, encode, parse, render

# rows: the row numbers in Spoiled are bad and all others good; file: it cannot be taken as a whole; none: harmless
Expected = Literal["rows", "file", "none"]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Spoiled:
    """What a fault made: the file's bytes, its data rows, and the numbers of the bad ones (from 1, rising)."""

    data: bytes
    rows: int
    bad_rows: tuple[int, ...]
    expected: Expected


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    description: str
    expected: Expected
    spoil: Callable[[Table, Profile, Rng], Spoiled]
    fits: Callable[[Profile], bool]
    again: bool = False  # the same bytes come once more under another name


FAULTS: dict[str, Fault] = {}


def spoil(name: str, data: bytes, profile: Profile, seed: int | Sequence[int]) -> Spoiled:
    """``data``, a sound file with at least one row, with the named fault; the same seed spoils it the same way."""
    fault, table = FAULTS[name], parse(data, profile)
    if fault.again:
        return Spoiled(data, len(table.rows), (), fault.expected)
    return fault.spoil(table, profile, np.random.default_rng(seed))


def chosen(names: Sequence[str], profile: Profile) -> list[Fault]:
    """The named faults, or all that the profile gives room for; UsageError for an unknown or impossible one."""
    for name in names:
        if name not in FAULTS:
            raise UsageError(f"There is no fault {name!r}.", "`appliance simulate --list-faults` prints them all.")
        if not FAULTS[name].fits(profile):
            raise UsageError(
                f"The fault {name!r} is not possible for {profile.name}: no column of its profile gives room for it.",
                "Leave it out.",
            )
    return [fault for fault in FAULTS.values() if (fault.name in names if names else fault.fits(profile))]


_Spoil = Callable[[Table, Profile, Rng], Spoiled]


def _fault(name: str, description: str, expected: Expected, *, again: bool = False) -> Callable[[_Spoil], _Spoil]:
    def register(function: _Spoil) -> _Spoil:
        FAULTS[name] = Fault(name, description, expected, function, lambda profile: True, again)
        return function

    return register


# -- single cells ----------------------------------------------------------------------------------------------------


def _cell_fault(
    name: str, description: str, fits: Callable[[Column], bool], wrong: Callable[[Column, Profile, Rng], str]
) -> None:
    """A fault that puts ``wrong`` text into one cell of some rows, in columns that ``fits`` names."""

    def function(table: Table, profile: Profile, rng: Rng) -> Spoiled:
        columns = [(place, column) for place, column in table.columns(profile) if fits(column)]
        rows = [list(row) for row in table.rows]
        picked = _some(len(rows), rng) if columns else []
        for row in picked:
            place, column = columns[rng.integers(len(columns))]
            rows[row][place] = wrong(column, profile, rng)
        return _rows(replace(table, rows=rows), profile, [row + 1 for row in picked])

    FAULTS[name] = Fault(
        name, description, "rows", function, lambda profile: any(fits(c) for c in profile.columns if c.required)
    )


def _some(count: int, rng: Rng) -> list[int]:
    """Positions of a few, or of many rows, at least one: files differ in how bad they are."""
    size = max(1, int(count * rng.choice((0.02, 0.1, 0.3, 0.6))))
    return sorted(rng.choice(count, size, replace=False).tolist())


def _rows(table: Table, profile: Profile, bad: Sequence[int], expected: Expected = "rows") -> Spoiled:
    return Spoiled(encode(table, profile), len(table.rows), tuple(bad), expected)


def _pick(texts: Sequence[str], rng: Rng) -> str:
    return texts[int(rng.integers(len(texts)))]


def _needed(column: Column) -> bool:
    return column.required and not column.nullable


def _bounded(column: Column) -> bool:
    return column.required and (column.minimum is not None or column.maximum is not None)


def _identifies(column: Column) -> bool:
    return column.required and column.pattern is not None and column.role in ("identifier", "machine")


def _outside(column: Column, profile: Profile, rng: Rng) -> str:
    beyond = []
    span = max(1.0, (column.maximum or 0) - (column.minimum or 0))
    if column.minimum is not None:
        beyond.append(column.minimum - span - 1)
    if column.maximum is not None:
        beyond.append(column.maximum + span + 1)
    value = beyond[int(rng.integers(len(beyond)))]
    text = f"{value:.0f}" if column.type == "integer" else f"{value:.1f}"
    return text.replace(".", profile.file.decimal)


def _unlike(column: Column, texts: Sequence[str], rng: Rng) -> str:
    """One of the texts that the column's pattern does not allow; empty where it allows them all."""
    wrong = [text for text in texts if column.pattern is None or not re.search(column.pattern, text)]
    return _pick(wrong, rng) if wrong else ""


_NO_IDENTIFIERS = ("?", "00000000000", "unknown unit", "x-x")
_FORMULAS = ("=1+1", "@SUM(A1:A9)", '=HYPERLINK("http://example.invalid")', "=cmd|' /C calc'!A0")

_cell_fault("null", "cells are empty that may not be", _needed, lambda column, profile, rng: "")
_cell_fault(
    "wrong-type",
    "words stand where numbers belong",
    lambda column: column.required and column.numeric,
    lambda column, profile, rng: _pick(("ERR", "####", "--", "defect"), rng),
)
_cell_fault("out-of-range", "numbers lie beyond what is possible", _bounded, _outside)
_cell_fault(
    "unknown-category",
    "a category is one that nobody knows",
    lambda column: column.required and column.type == "category",
    lambda column, profile, rng: _pick(("unheard-of", "??", "Z99"), rng),
)
_cell_fault(
    "bad-identifier",
    "identifiers do not look like any",
    _identifies,
    lambda column, profile, rng: _unlike(column, _NO_IDENTIFIERS, rng),
)
_cell_fault(
    "nan-inf",
    "numbers are NaN or infinite",
    lambda column: column.numeric and _needed(column),
    lambda column, profile, rng: _pick(("NaN", "inf", "-inf", "Infinity", "1e400"), rng),
)
_cell_fault(
    "formula-cells",
    "cells hold spreadsheet formulas",
    lambda column: column.required and (column.numeric or column.type == "category" or column.pattern is not None),
    lambda column, profile, rng: _unlike(column, _FORMULAS, rng),
)


# -- rows ------------------------------------------------------------------------------------------------------------


@_fault("ragged-rows", "rows have a cell too few or too many", "rows")
def _ragged(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    rows = [list(row) for row in table.rows]
    picked = _some(len(rows), rng)
    for row in picked:
        rows[row] = rows[row][:-1] if rng.random() < 0.5 and len(rows[row]) > 1 else [*rows[row], "x"]
    return _rows(replace(table, rows=rows), profile, [row + 1 for row in picked])


@_fault("duplicate-rows", "rows come twice; the second is bad where the profile says so, else harmless", "rows")
def _duplicate_rows(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    twice = set(_some(len(table.rows), rng))
    rows: list[list[str]] = []
    copies = []
    for place, row in enumerate(table.rows):
        rows.append(row)
        if place in twice:
            rows.append(row)
            copies.append(len(rows))
    if profile.file.duplicate_rows == "keep":
        return _rows(replace(table, rows=rows), profile, (), "none")
    return _rows(replace(table, rows=rows), profile, copies)


@_fault("truncated-file", "the file ends in the middle of a row", "rows")
def _truncated(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    kept = int(rng.integers(len(table.rows) // 2, len(table.rows)))
    whole = replace(table, rows=table.rows[:kept])
    # So that whole cells are missing: a last number that lost a digit cannot be told from a true one.
    cut = profile.file.separator.join(table.rows[kept][: len(table.header) // 2])
    data = (render(whole, profile) + cut).encode(profile.file.encoding)
    return Spoiled(data, kept + 1, (kept + 1,), "rows")


@_fault("header-only", "a header without a single row", "file")
def _header_only(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    return _rows(replace(table, rows=[]), profile, (), "file")


# -- columns ---------------------------------------------------------------------------------------------------------


def _arranged(table: Table, order: Sequence[int]) -> Table:
    return replace(table, header=[table.header[i] for i in order], rows=[[row[i] for i in order] for row in table.rows])


@_fault("missing-column", "a column is missing that has to be there: no row is good without it", "rows")
def _missing(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    needed = [place for place, column in table.columns(profile) if column.required]
    gone = needed[int(rng.integers(len(needed)))]
    every = range(1, len(table.rows) + 1)
    return _rows(_arranged(table, [i for i in range(len(table.header)) if i != gone]), profile, every)


@_fault("duplicated-column", "a column is there twice", "file")
def _duplicated(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    places = [place for place, _ in table.columns(profile)]
    twice = places[int(rng.integers(len(places)))]
    return _rows(_arranged(table, [*range(len(table.header)), twice]), profile, (), "file")


@_fault("extra-column", "a column is there that nobody knows", "none")
def _extra(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    rows = [[*row, _pick(("ok", "", "17"), rng)] for row in table.rows]
    return _rows(replace(table, header=[*table.header, "Remark 7"], rows=rows), profile, (), "none")


@_fault("reordered-columns", "the columns come in another order", "none")
def _reordered(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    turn = int(rng.integers(1, max(2, len(table.header))))
    order = [*range(turn, len(table.header)), *range(turn)]
    return _rows(_arranged(table, order), profile, (), "none")


# -- whole files -----------------------------------------------------------------------------------------------------


def _whole(table: Table, data: bytes, expected: Expected = "file") -> Spoiled:
    return Spoiled(data, len(table.rows), (), expected)


@_fault("duplicate-file", "the same file comes again under another name", "none", again=True)
def _again(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    return _rows(table, profile, (), "none")


@_fault("crlf", "lines end as on Windows", "none")
def _crlf(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    return _whole(table, render(table, profile, newline="\r\n").encode(profile.file.encoding), "none")


@_fault("wrong-separator", "cells are separated by another character", "file")
def _separator(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    other = next(s for s in (";", "\t") if s != profile.file.separator)
    return _whole(table, render(table, profile, separator=other).encode(profile.file.encoding))


@_fault("wrong-encoding", "the text is in another encoding", "file")
def _encoding(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    # Encodings of single bytes can be taken for each other unnoticed where the text is plain ASCII; UTF-16 cannot.
    other = "utf-8" if profile.file.encoding == "utf-16" else "utf-16"
    return _whole(table, render(table, profile).encode(other))


@_fault("nul-bytes", "the end is NUL bytes, as after a power cut", "file")
def _nul(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    data = encode(table, profile)
    sound = int(len(data) * rng.uniform(0.3, 0.9))
    return _whole(table, data[:sound] + b"\0" * (len(data) - sound))


@_fault("compressed-in-disguise", "gzip under the name of a CSV file", "file")
def _compressed(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    return _whole(table, gzip.compress(encode(table, profile), mtime=0))


@_fault("empty-file", "a file of no bytes", "file")
def _empty(table: Table, profile: Profile, rng: Rng) -> Spoiled:
    return Spoiled(b"", 0, (), "file")
