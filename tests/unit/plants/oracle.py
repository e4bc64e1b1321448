"""A second opinion on files: which rows are bad, by the plainest reading of a profile, one row at a time.

Shares no code with the appliance's reader and checks, nor with the faults that it judges.
"""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import datetime

from appliance.profile import Column, Profile


class Unreadable(Exception):
    """The file cannot be taken as a whole."""


def known_cells(data: bytes, profile: Profile) -> list[dict[str, str] | None]:
    """Each row's cells under the profile's names; None for a row with too few or too many."""
    return _rows(data, profile)


def bad_rows(data: bytes, profile: Profile) -> list[int]:
    """Numbers of the bad rows, counted from 1; :class:`Unreadable` where there are no rows to speak of."""
    needed = {c.name for c in profile.columns if c.required}
    seen: set[tuple[tuple[str, str], ...]] = set()
    bad = []
    for number, cells in enumerate(_rows(data, profile), start=1):
        if (
            cells is None
            or not needed <= cells.keys()
            or not all(_sound(profile.column(name), text, profile) for name, text in cells.items())
        ):
            bad.append(number)
            continue
        key = tuple(sorted(cells.items()))
        if key in seen and profile.file.duplicate_rows == "bad":
            bad.append(number)
        seen.add(key)
    return bad


def _rows(data: bytes, profile: Profile) -> list[dict[str, str] | None]:
    if not data or data[:2] == b"\x1f\x8b":
        raise Unreadable
    try:
        text = data.decode(profile.file.encoding).removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Unreadable from None
    if "\0" in text:
        raise Unreadable
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=profile.file.separator)
    if not rows:
        raise Unreadable
    places = [[i for i, cell in enumerate(header) if cell in column.headers] for column in profile.columns]
    if not any(places) or any(len(found) > 1 for found in places):
        raise Unreadable
    names = [(column.name, found[0]) for column, found in zip(profile.columns, places, strict=True) if found]
    return [{name: row[place] for name, place in names} if len(row) == len(header) else None for row in rows]


def _sound(column: Column, text: str, profile: Profile) -> bool:
    if not text:
        return column.nullable or not column.required
    match column.type:
        case "category":
            return text in column.categories
        case "boolean":
            return text in ("0", "1")
        case "text":
            return column.pattern is None or re.search(column.pattern, text) is not None
        case "time":
            try:
                return bool(datetime.strptime(text, profile.time.format or ""))
            except ValueError:
                return False
    try:
        value = float(text.replace(profile.file.decimal, "."))
    except ValueError:
        return False
    least = -math.inf if column.minimum is None else column.minimum
    most = math.inf if column.maximum is None else column.maximum
    return math.isfinite(value) and least <= value <= most
