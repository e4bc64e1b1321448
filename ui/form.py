"""The form of one row, out of the profile: a widget for each reading, and what was put in as a row of code names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from ui import words
from ui.session import Here
from ui.texts import t

# Whole numbers that a browser can hold.
SAFE = 2**53 - 1
_ACROSS = 3
_MOST_DIGITS = 9
_LONGEST = 200
# What a person is asked for; a label is what the model says, and an identifier tells it nothing.
_ROLES = ("reading", "context", "time")


@dataclass(frozen=True, slots=True)
class Filled:
    """``missing``: titles of readings that have to be there and were left empty; ``now``: names of times that were left
    empty, and are the present one."""

    row: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    now: list[str] = field(default_factory=list)


def columns(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the form asks for: readings, and what else a row has to hold. The machine is chosen before it."""
    return [c for c in profile["columns"] if c["role"] in _ROLES and (c["required"] or c["role"] == "reading")]


def start(profile: Mapping[str, Any], key: str, values: Mapping[str, Any]) -> None:
    """Put ``values`` into the widgets, whatever stood there: a last reading, or what was tried out. Before they are drawn."""
    for column in columns(profile):
        st.session_state[_key(key, column)] = put(column, values.get(column["name"]))


def started(profile: Mapping[str, Any], key: str) -> bool:
    return all(_key(key, column) in st.session_state for column in columns(profile))


def draw(here: Here, profile: Mapping[str, Any], key: str) -> Filled:
    """The widgets, as :func:`start` filled them, and what stands in them now."""
    filled = Filled()
    asked = columns(profile)
    for first in range(0, len(asked), _ACROSS):
        # Row by row, so that they are in their order on a phone too.
        for column, place in zip(asked[first : first + _ACROSS], st.columns(_ACROSS), strict=False):
            with place:
                _widget(here, column, _key(key, column))
    for column in asked:
        held = st.session_state.get(_key(key, column))
        value = taken(column, held, here.zone)
        if value is not None:
            filled.row[column["name"]] = value
            if held is None:
                filled.now.append(column["name"])
        elif column["required"] and not column["nullable"]:
            filled.missing.append(column["title"])
        elif column["required"]:
            filled.row[column["name"]] = None
    return filled


def put(column: Mapping[str, Any], value: Any) -> Any:
    """A value of a row as its widget holds it; None where it is no value that the widget can show."""
    kind = column["type"]
    if value is None or kind == "time":
        return None  # whoever asks, asks about now
    if kind in ("number", "integer"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        low, high = bounds(column)
        if (low is not None and value < low) or (high is not None and value > high):
            return None
        return float(value) if kind == "number" else int(value) if value == int(value) else None
    if kind == "category":
        return value if value in column["categories"] else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return str(value)[:_LONGEST]


def taken(column: Mapping[str, Any], value: Any, zone: ZoneInfo) -> Any:
    """What stands in the widget as a value of a row; None for nothing."""
    if column["type"] == "time":
        at = words.now() if value is None else value.replace(tzinfo=zone)
        return at.isoformat(timespec="milliseconds" if value is None else "seconds")
    if column["type"] == "text":
        return (value or "").strip() or None
    return value


def bounds(column: Mapping[str, Any]) -> tuple[Any, Any]:
    """The least and the greatest number that may be put in, in the type of the column; None for none."""
    low, high = column["minimum"], column["maximum"]
    if column["type"] == "number":
        return (None if low is None else float(low)), (None if high is None else float(high))
    least = -SAFE if low is None else max(-SAFE, math.ceil(low))
    most = SAFE if high is None else min(SAFE, math.floor(high))
    return (least, most) if least <= most else (-SAFE, SAFE)


def digits(column: Mapping[str, Any], *values: Any) -> int:
    """Decimals to show: those of the profile, and as many more as a value has, lest it be shown as another one."""
    found = column["decimals"] or 0
    for value in values:
        if isinstance(value, float) and math.isfinite(value):
            exponent = Decimal(repr(value)).normalize().as_tuple().exponent
            found = max(found, -int(exponent))
    return min(_MOST_DIGITS, found)


def label(column: Mapping[str, Any]) -> str:
    """Title and unit. Of signs only those are hidden from Markdown that would do something: a label is read aloud as it is."""
    text = f"{column['title']} ({column['unit']})" if column["unit"] else str(column["title"])
    return "".join(f"\\{c}" if c in r"\`*_[]<>$:~" else c for c in text)


def choices(column: Mapping[str, Any]) -> tuple[Sequence[Any], Any]:
    """What a category or a yes-or-no can be, and how each is called."""
    if column["type"] == "boolean":
        return (False, True), lambda value: t("words.yes") if value else t("words.no")
    return column["categories"], lambda value: str(column["category_titles"].get(value, value))


def _widget(here: Here, column: Mapping[str, Any], key: str) -> None:
    kind, said, more = column["type"], label(column), _help(column)
    if kind in ("number", "integer"):
        low, high = bounds(column)
        options: dict[str, Any] = {"min_value": low, "max_value": high, "value": None, "key": key, "help": more}
        if kind == "integer":
            st.number_input(said, step=1, format="%d", **options)
        else:
            places = digits(column, st.session_state.get(key))
            st.number_input(said, step=10.0 ** -(column["decimals"] or 0), format=f"%.{places}f", **options)
    elif kind in ("category", "boolean"):
        known, called = choices(column)
        st.selectbox(said, known, index=None, format_func=called, key=key, help=more, placeholder=t("form.choose"))
    elif kind == "time":
        st.datetime_input(
            t("form.time", title=said, zone=here.zone.key), value=None, key=key, step=60, help=t("form.now")
        )
    else:
        st.text_input(said, max_chars=_LONGEST, key=key, help=more)


def _help(column: Mapping[str, Any]) -> str | None:
    """What the profile says of it, and its range."""
    low, high = (words.amount(column[name], column) for name in ("minimum", "maximum"))
    said = [words.plain(column["description"])] if column["description"] else []
    if column["minimum"] is not None and column["maximum"] is not None:
        said.append(t("form.between", low=words.plain(low), high=words.plain(high)))
    elif column["minimum"] is not None:
        said.append(t("form.least", low=words.plain(low)))
    elif column["maximum"] is not None:
        said.append(t("form.most", high=words.plain(high)))
    if column["pattern"]:
        said.append(t("form.pattern", pattern=words.plain(column["pattern"])))
    if column["nullable"] or not column["required"]:
        said.append(t("form.optional"))
    return " ".join(said) or None


def _key(key: str, column: Mapping[str, Any]) -> str:
    return f"{key}_{column['name']}"
