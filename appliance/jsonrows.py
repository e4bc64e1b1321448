"""Rows of a JSON request -> a batch, strictly: "5" is no number, true is no number, 5.0 is no whole number. Pure.

A row's keys are the profile's names in code. A required key must be there (null is an empty cell), an unknown one is
refused. A time is ISO 8601 with its offset from UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import contract
from appliance.batches import Batch
from appliance.memo import once
from appliance.profile import ROW, Column, Profile

UNKNOWN_NAMED = 20  # unknown keys that are told apart in one request
_SHOWN = 200  # characters of a wrong value that are kept to be shown
_WRONG = object()
_EXACT = 2**53
# Rules of the contract that a quick look judges. Where a column has another, the close one decides.
_JUDGED = frozenset(("not_null", "not_finite", "range", "category"))


def rows_to_batch(rows: Sequence[Mapping[str, object]], profile: Profile) -> Batch:
    """One row a mapping, numbered from 1; what the types alone show to be wrong stands in the batch's faults."""
    columns = [c for c in profile.columns if c.required or any(c.name in row for row in rows)]
    names = {column.name for column in columns}
    faults: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def fault(rule: str, name: str, index: int) -> None:
        faults.setdefault((rule, name), np.zeros(len(rows), dtype=np.bool_))[index] = True

    cells: dict[str, pl.Series] = {}
    for column in columns:
        given = [row.get(column.name, _WRONG) for row in rows]
        values = _plain(column, given, profile.file.decimal)
        if values is None:
            values = []
            for index, value in enumerate(given):
                if value is _WRONG:
                    if column.required:
                        fault("missing_column", column.name, index)
                    value = None
                elif value is not None:
                    value, sound = _cell(column, value, profile.file.decimal)
                    if not sound:
                        fault("time" if column.type == "time" else "type", column.name, index)
                values.append(value)
        kind = pl.Datetime("us", "UTC") if column.type == "time" else pl.String()
        cells[column.name] = pl.Series(column.name, values, dtype=kind)
    unknown: dict[str, None] = {}
    for index, row in enumerate(rows):
        for key in row.keys() - names:
            if key not in unknown and len(unknown) < UNKNOWN_NAMED:
                unknown[key] = None
            fault("extra_column", key if key in unknown else "", index)
    return Batch.of(pl.DataFrame(cells, height=len(rows)), faults=faults)


def sound(rows: Sequence[Mapping[str, object]], profile: Profile) -> pl.DataFrame | None:
    """Rows that plainly keep the contract, typed and numbered as the checks would leave them; None where they have to
    look. Nearly every request is such, and to go by text cells costs ten times as much.
    """
    keys = rows[0].keys()
    if not keys <= _names(profile) or any(row.keys() != keys for row in rows):
        return None
    present = _plain_columns(profile, tuple(keys))
    if present is None:
        return None
    cells = [pl.Series(ROW, np.arange(1, len(rows) + 1, dtype=np.int64))]
    for column in present:
        typed = _sound(column, [row[column.name] for row in rows])
        if typed is None:
            return None
        cells.append(typed)
    return pl.DataFrame(cells)


@once
def _names(profile: Profile) -> frozenset[str]:
    return frozenset(column.name for column in profile.columns)


@once
def _plain_columns(profile: Profile, keys: Sequence[str]) -> Sequence[Column] | None:
    """The columns of rows with those keys, all known; None where one is missing, or a rule needs the close look."""
    present = [column for column in profile.columns if column.name in keys]
    if any(column.required and column not in present for column in profile.columns):
        return None
    judged = all(rule.name in _JUDGED for rule in contract.rules(profile, [column.name for column in present]))
    return present if judged else None


def _sound(column: Column, values: list[object]) -> pl.Series | None:
    kinds = set(map(type, values))
    match column.type:
        case "number" if kinds <= {int, float}:
            try:
                numbers = np.array(values, dtype=np.float64)
            except OverflowError:
                return None
            within = np.isfinite(numbers).all() and _within(column, numbers.min(), numbers.max())
            return pl.Series(column.name, numbers) if within else None
        case "integer" if kinds == {int}:
            least, most = min(values), max(values)  # type: ignore[type-var]
            within = least >= -_EXACT and most <= _EXACT and _within(column, least, most)  # type: ignore[operator]
            return pl.Series(column.name, values, dtype=pl.Int64) if within else None
        case "boolean" if kinds == {bool}:
            return pl.Series(column.name, values, dtype=pl.Boolean)
        case "category" if kinds == {str} and set(values) <= set(column.categories):
            return pl.Series(column.name, values, dtype=pl.String)
    return None


def _within(column: Column, least: Any, most: Any) -> bool:
    low, high = column.minimum, column.maximum
    return (low is None or bool(least >= low)) and (high is None or bool(most <= high))


def _plain(column: Column, given: list[object], decimal: str) -> list[object] | None:
    """The same as cell by cell, and quicker, for a column of sound numbers or texts, as nearly all are; else None."""
    kinds = set(map(type, given))
    if column.type == "number" and decimal == "." and kinds <= {int, float}:
        try:
            return list(map(repr, given))
        except ValueError:  # thousands of digits
            return None
    return given if column.type in ("text", "category") and kinds == {str} and all(given) else None


def _cell(column: Column, value: object, decimal: str) -> tuple[object, bool]:
    """The value as a file of the profile would write it, and whether its type is the column's."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match column.type:
        case "number":
            return (_written(value).replace(".", decimal), True) if number else (_written(value), False)
        case "integer":
            return _written(value), isinstance(value, int) and number
        case "boolean":
            return _written(value), isinstance(value, bool)
        case "time":
            return _moment(value)
        case _:
            return (value or None, True) if isinstance(value, str) else (_written(value), False)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        text = "(too long)"
    return text if isinstance(value, int | float) else text[:_SHOWN]


def _moment(value: object) -> tuple[object, bool]:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return (moment.astimezone(UTC), True) if moment is not None and moment.tzinfo else (None, False)
    except (ValueError, OverflowError):
        return None, False
