"""Text cells -> typed cells, one by one: what cannot be read becomes null and is marked, never guessed. Pure.

Numbers: as :func:`float` reads them, blanks around them allowed, with the profile's decimal sign and no thousands
separators; ``1e5`` is a number, ``inf``, ``nan`` and ``1e400`` are not finite. Whole numbers: exact within 64 bits,
``5.0`` and ``1e3`` included. Booleans: 0, 1, true, false in any case, and 0.0 and 1.0, which pandas makes of them.
Times: by the profile's format (strftime codes) in its zone; one that a clock change makes ambiguous is the earlier,
one that it skips is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from appliance.decoding import UNDECODED
from appliance.names import MAX_MACHINE
from appliance.profile import Column, Profile
from appliance.spreadsheet import FORMULA, SIGNED_NUMBER

MAX_TEXT = 1000
YEARS = (1970, 2200)
_EXACT = 2**53
_BOOLEANS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}
_PLAIN = r"^[\p{L}\p{N}_](?:[\p{L}\p{N}_ .:/#-]{0,60}[\p{L}\p{N}_])?$"
_CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"


Faults = list[tuple[str, pl.Expr]]


@dataclass(frozen=True, slots=True)
class Cast:
    """``value``: the typed cell, null where it cannot be read; ``faults``: (rule, true where a cell breaks it)."""

    value: pl.Expr
    faults: Faults


def cast(column: Column, header: str, profile: Profile, kind: pl.DataType) -> Cast:
    """How the cells under ``header`` become values of ``column``; ``kind`` is the type they come in."""
    raw = pl.col(header)
    if kind.is_temporal():
        return _of_time(raw, profile, kind)
    stripped = raw.str.strip_chars()
    text = pl.when(stripped != "").then(stripped)
    damaged = text.str.contains(UNDECODED, literal=True)
    value, faults = _as(column, text, profile)
    return Cast(value, [("encoding", damaged), *((rule, mask & ~damaged) for rule, mask in faults)])


def quick(column: Column, header: str, profile: Profile, kind: pl.DataType) -> pl.Expr:
    """The same value at a tenth of the cost where a cell is plain and without fault; null for all other cells."""
    raw = pl.col(header)
    if kind.is_temporal():
        return _of_time(raw, profile, kind).value
    match column.type:
        case "number":
            return _finite(_number(raw, profile.file.decimal))
        case "integer":
            return raw.cast(pl.Int64, strict=False)
        case "boolean":
            return pl.when(raw.is_in(["0", "1"])).then(raw == "1")
        case "category":
            return pl.when(raw.is_in(column.categories)).then(raw)
        case "time":
            return _parsed(raw, profile)
        case "text":
            return pl.when(raw.str.contains(_PLAIN)).then(raw)


def _as(column: Column, text: pl.Expr, profile: Profile) -> tuple[pl.Expr, Faults]:
    match column.type:
        case "number":
            number = _number(text, profile.file.decimal)
            return _finite(number), _not_a_number(text, number, number)
        case "integer":
            number = _number(text, profile.file.decimal)
            whole = (number == number.floor()) & (number.abs() <= _EXACT)
            exact = text.cast(pl.Int64, strict=False)
            value = pl.coalesce(exact, pl.when(whole).then(number).cast(pl.Int64, strict=False))
            return value, _not_a_number(text, number, value)
        case "boolean":
            word = text.str.to_lowercase().str.replace(",", ".", literal=True)
            flag = word.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
            return flag, [("type", text.is_not_null() & flag.is_null())]
        case "category":
            return text, []
        case "time":
            moment = _parsed(text, profile)
            return moment, [("time", text.is_not_null() & moment.is_null())]
        case "text":
            rule, longest = ("machine", MAX_MACHINE) if column.role == "machine" else ("type", MAX_TEXT)
            odd = (text.str.len_chars() > longest) | text.str.contains(_CONTROL)
            formula = text.str.contains(FORMULA) & ~text.str.contains(SIGNED_NUMBER)
            return text, [(rule, odd), ("formula", formula)]


def time_format(profile: Profile) -> str:
    """The profile's format as Polars takes it: it knows fractions of a second only together with their point."""
    return re.sub(r"(?<!%)((?:%%)*)\.%f", r"\1%.f", profile.time.format or "")


def _names_its_zone(text: str) -> bool:
    """The format holds an offset from UTC, or seconds since 1970."""
    return re.search(r"(?<!%)(?:%%)*%(?:[:#]*z|s)", text) is not None


def _number(text: pl.Expr, decimal: str) -> pl.Expr:
    if decimal == ",":
        text = pl.when(~text.str.contains(".", literal=True)).then(text.str.replace(",", ".", literal=True))
    return text.cast(pl.Float64, strict=False)


def _finite(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_finite()).then(number)


def _not_a_number(text: pl.Expr, number: pl.Expr, value: pl.Expr) -> Faults:
    infinite = (number.is_not_null() & ~number.is_finite()).fill_null(False)
    return [("not_finite", infinite), ("type", text.is_not_null() & value.is_null() & ~infinite)]


def _parsed(text: pl.Expr, profile: Profile) -> pl.Expr:
    pattern = time_format(profile)
    parsed = text.str.strptime(pl.Datetime("us"), pattern, strict=False)
    # Such a format makes Polars give UTC already (seconds: without saying so).
    return _sane(_to_utc(parsed, "UTC" if _names_its_zone(pattern) else profile.time.zone))


def _of_time(cell: pl.Expr, profile: Profile, kind: pl.DataType) -> Cast:
    zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
    value = cell.cast(pl.Datetime("us", zone))
    value = _sane(value.dt.convert_time_zone("UTC") if zone else _to_utc(value, profile.time.zone))
    return Cast(value, [("time", cell.is_not_null() & value.is_null())])


def _to_utc(local: pl.Expr, zone: str) -> pl.Expr:
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _sane(moment: pl.Expr) -> pl.Expr:
    return pl.when(moment.dt.year().is_between(*YEARS)).then(moment)
