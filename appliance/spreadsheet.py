"""What makes a CSV safe to open in a spreadsheet and recognisable when it comes back. Pure."""

from __future__ import annotations

import re

import polars as pl

# Our own columns in a CSV of bad rows, taken off again when it comes back mended.
ROW_NUMBER, REASONS, MEND, FILE, TIME_WAS = "_row", "_reasons", "_mend", "_file", "_time_was"
OWN = (ROW_NUMBER, REASONS, MEND, FILE, TIME_WAS)

# Before a time that no spreadsheet is to take for one.
_AT = "at "
# What Excel leaves out of a time that it shows, and so of one that it exports.
_SECONDS = r"^:[0-9]{2}(?:[.,][0-9]+)?$"

# A spreadsheet runs a cell that starts like this; an apostrophe before it makes it plain text. A signed number starts
# alike and is none. Both are read by Python and by Polars, so nothing but plain classes stands in them.
FORMULA = r"^(?:[\t\r]|[\s\x1c-\x1f]*[=+\-@＝＋－＠])"
SIGNED_NUMBER = r"^\s*[+-][0-9.,]+(?:[eE][+-]?[0-9]+)?\s*$"
_FORMULA = re.compile(FORMULA)
_SIGNED_NUMBER = re.compile(SIGNED_NUMBER)


def is_formula(cell: str) -> bool:
    return _FORMULA.match(cell) is not None and _SIGNED_NUMBER.match(cell) is None


def inert(cell: str) -> str:
    """The cell as a spreadsheet may open it; :func:`original` is its exact inverse."""
    return f"'{cell}" if is_formula(cell.lstrip("'")) else cell


def original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and is_formula(cell.lstrip("'")) else cell


def inert_cells(column: str) -> pl.Expr:
    """:func:`inert` for a whole String column."""
    cell = pl.col(column)
    return pl.when(_harmful(cell)).then("'" + cell).otherwise(cell).alias(column)


def original_cells(column: str) -> pl.Expr:
    """:func:`original` for a whole String column."""
    cell = pl.col(column)
    armed = cell.str.starts_with("'") & _harmful(cell)
    return pl.when(armed).then(cell.str.slice(1)).otherwise(cell).alias(column)


def kept_time(column: str) -> pl.Expr:
    """The cells of a time beside themselves, as a spreadsheet leaves them alone."""
    return (_AT + pl.col(column)).alias(TIME_WAS)


def whole_time(column: str) -> pl.Expr:
    """Times that came back without their seconds and are as they were otherwise, with them; all others as they came."""
    cell, was = pl.col(column).str.strip_chars(), pl.col(TIME_WAS).str.strip_chars().str.strip_prefix(_AT)
    cut = was.str.starts_with(cell) & was.str.slice(cell.str.len_chars()).str.contains(_SECONDS)
    return pl.when(cut).then(was).otherwise(pl.col(column)).alias(column)


def _harmful(cell: pl.Expr) -> pl.Expr:
    bare = cell.str.strip_chars_start("'")
    return bare.str.contains(FORMULA) & ~bare.str.contains(SIGNED_NUMBER)
