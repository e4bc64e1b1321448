"""The row that is explained: its readings, what is derived from them, and how both change when one reading does.

A stored prediction keeps the features that the model saw, as float32. Most readings are among them, so the rest can be
derived again by the one feature function; where that does not give the very number that was stored (a reading is not
kept, or what the machine did before is not known), the derived feature is held at its stored value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import features
from appliance.profile import MACHINE, TIME, Column, Profile

_HERE = "here"
# Rows of history that are repeated beside changed rows, at most: long windows allow fewer changes at a time.
_MOST_HISTORY = 60_000


@dataclass(frozen=True, slots=True)
class Row:
    """``readings``: one row by code name, typed as the contract gives it, with ``_time`` where there are windows.
    ``history``: earlier rows of its machine for window features. ``held``: derived features that stay as they are."""

    profile: Profile
    readings: pl.DataFrame
    history: pl.DataFrame | None
    held: Mapping[str, float | None]

    @property
    def most_changes(self) -> int:
        """How many changed rows :meth:`featured` should be given at a time."""
        return _MOST_HISTORY // max(1, self.profile.history_rows)

    def changed(self, *changes: tuple[str, Sequence[Any]]) -> pl.DataFrame:
        """The readings once for each value of each change, which is a reading's name and the values to give it."""
        ends = list(accumulate(len(values) for _, values in changes))
        whole: list[pl.Series] = []
        for now in self.readings:
            # Each column is put together once, of what stays as it is and of what changes.
            pieces, done = [], 0
            for (name, values), end in zip(changes, ends, strict=True):
                if name == now.name and values:
                    pieces += [now.new_from_index(0, end - len(values) - done), pl.Series(name, values, now.dtype)]
                    done = end
            pieces.append(now.new_from_index(0, ends[-1] - done))
            whole.append(pl.concat(pieces) if len(pieces) > 1 else pieces[0])
        return pl.DataFrame(whole)

    def featured(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of readings with their derived features, each row alone after the same history."""
        profile, history = self.profile, self.history
        if profile.history_rows:
            names = pl.Series(MACHINE, [f"{number}" for number in range(rows.height)], dtype=pl.String)
            rows = rows.with_columns(names)
            if history is not None:
                history = history.drop(MACHINE).join(names.to_frame(), how="cross")
        held = [pl.lit(value, pl.Float64).alias(name) for name, value in self.held.items()]
        return features.feature_frame(profile, rows, history).with_columns(held)


def of_readings(profile: Profile, rows: pl.DataFrame, history: pl.DataFrame | None) -> Row:
    """A row as the contract let it pass; ``history`` as :func:`appliance.features.feature_frame` takes it."""
    return Row(profile, rows, history if profile.history_rows else None, {})


def of_features(
    profile: Profile,
    vector: Sequence[float | None],
    read_at: datetime,
    earlier: Sequence[tuple[datetime, Sequence[float | None]]] = (),
) -> Row:
    """A row out of the features (in the order of ``profile.matrix_names``, missing is None) that were stored for it.

    ``earlier`` are time and features of the machine's predictions before it, in any order.
    """
    known = _values(profile, vector)
    columns = {c.name: pl.Series(c.name, [known.get(c.name)], dtype=features.dtype(c)) for c in profile.columns}
    frame = pl.DataFrame([*columns.values()]).with_columns(
        pl.lit(_HERE).alias(MACHINE), pl.lit(read_at.astimezone(UTC)).cast(pl.Datetime("us", "UTC")).alias(TIME)
    )
    history = _history(profile, earlier)
    derived = features.matrix(profile, frame, history)[0]
    stored = np.array([math.nan if value is None else value for value in vector], dtype=np.float32)
    differ = ~((derived == stored) | (np.isnan(derived) & np.isnan(stored)))
    unlike = {name for name, other in zip(profile.matrix_names, differ, strict=True) if other}
    return Row(profile, frame, history, {f.name: known[f.name] for f in profile.features if f.name in unlike})


def plain(value: float | None) -> float | None:
    """A stored float32 as the number that it was: 308.6, not 308.6000061."""
    return None if value is None or math.isnan(value) else float(str(np.float32(value)))


def _values(profile: Profile, vector: Sequence[float | None]) -> dict[str, Any]:
    """Readings and derived features by name, categories as the words that they were."""
    found: dict[str, Any] = {}
    for name, stored in zip(profile.matrix_names, vector, strict=True):
        source, _, category = name.partition("=")
        column, value = profile.feature(source), plain(stored)
        if category:
            if value:
                found[source] = category
        elif not isinstance(column, Column) or value is None:
            found[source] = value
        elif column.type == "category":
            found[source] = column.categories[int(value)] if 0 <= value < len(column.categories) else None
        elif column.type in ("boolean", "integer"):
            found[source] = bool(value) if column.type == "boolean" else int(value)
        else:
            found[source] = value
    return found


def _history(profile: Profile, earlier: Sequence[tuple[datetime, Sequence[float | None]]]) -> pl.DataFrame | None:
    """The columns that windows look back at; None where the model does not see one of them itself."""
    columns = list(dict.fromkeys(f.window.column for f in profile.features if f.window is not None))
    names = profile.matrix_names
    if not columns or not earlier or not set(columns) <= set(names):
        return None
    rows = {name: [plain(vector[names.index(name)]) for _, vector in earlier] for name in columns}
    times = [moment.astimezone(UTC) for moment, _ in earlier]
    return pl.DataFrame(
        {MACHINE: [_HERE] * len(times), TIME: times, **rows},
        schema={MACHINE: pl.String(), TIME: pl.Datetime("us", "UTC"), **dict.fromkeys(columns, pl.Float64())},
    )


def vector_of(profile: Profile, featured: pl.DataFrame) -> NDArray[np.float32]:
    """The model's input of the first row."""
    first: NDArray[np.float32] = features.matrix_of(profile, featured[:1])[0]
    return first
