"""What one change would do: the nearest value of one reading that makes a row safe, and the curve over its range.

Each changed row goes the whole way, through the feature function, the model and the limits. Values are sought over the
range on a grid, and then down to the last digit that the profile gives a reading, between the nearest safe value and
its unsafe neighbour on the side of the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import features
from appliance.explain import grid
from appliance.explain.row import Row, plain
from appliance.profile import Column
from appliance.scorer import Scorer

# Values of a reading that are looked at together: at most, at least, and of all readings.
_MOST, _FEWEST, _ALL = 400, 20, 4_000
CURVE = 200

Seen = tuple[NDArray[np.float32], NDArray[np.float32]]  # least and greatest value of each matrix column in training


@dataclass(frozen=True, slots=True)
class Change:
    """``size``: how far it is, in standard deviations of the reading; ``settable``: a person can do it."""

    column: Column
    before: Any
    after: Any
    probability: float
    size: float
    settable: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of changed rows, one entry each."""

    probability: NDArray[np.float32]
    failing: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # an engineering limit that binds
    known: NDArray[np.bool_]  # what changed with the reading lies within what training has seen

    @property
    def safe(self) -> NDArray[np.bool_]:
        return ~self.failing & ~self.broken & self.known


@dataclass(slots=True)
class _Search:
    """One reading, in one direction: ``values`` are to be tried next, the nearest to the row first."""

    column: Column
    near: Any  # the unsafe value that is nearest to what was found: the present one, to begin with
    values: list[Any]
    decimals: int | None = None  # None: these values and no others
    found: Any = None
    probability: float = 0.0

    def narrow(self, safe: NDArray[np.bool_], probability: NDArray[np.float32]) -> None:
        at = int(safe.argmax()) if safe.any() else len(safe)
        if at < len(safe):
            self.found, self.probability = self.values[at], float(probability[at])
        if at:
            self.near = self.values[at - 1]
        self.values = self._between() if self.found is not None and self.decimals is not None else []

    def _between(self) -> list[Any]:
        """Finer values between the two, the unsafe one first; none where there are no digits left."""
        assert self.decimals is not None
        low, high = sorted((self.near, self.found))
        finer = [v for v in _typed(self.column, grid.values(low, high, self.decimals, _MOST)) if low < v < high]
        return finer if self.found > self.near else finer[::-1]


class Changes:
    """Changes of one row under one model. ``vector``: what the model sees of it; ``spread``: the standard deviation of
    each matrix column in training."""

    def __init__(
        self, row: Row, vector: NDArray[np.float32], scorer: Scorer, seen: Seen, spread: NDArray[np.float64]
    ) -> None:
        self._row = row
        self._profile = row.profile
        self._scorer = scorer
        self._seen = seen
        self._spread = spread
        self._vector = vector
        self._numbers = {name: number for number, name in enumerate(row.profile.matrix_names)}

    def nearest(self) -> list[Change]:
        """For each reading that can do it alone, the nearest value that makes the row safe; the smallest change first.

        Safe: the verdict passes, no engineering limit is broken, and what changes stays within what training has seen.
        """
        readings = [c for c in self._profile.with_role("reading") if self._now(c) is not None]
        most = min(_MOST, max(_FEWEST, _ALL // max(1, len(readings))))
        searches = [search for column in readings for search in self._searches(column, most)]
        while open_ := [search for search in searches if search.values]:
            tried = self._try(*((search.column.name, search.values) for search in open_))
            ends = np.cumsum([len(search.values) for search in open_])[:-1]
            answers = zip(open_, np.split(tried.safe, ends), np.split(tried.probability, ends), strict=True)
            for search, safe, probability in answers:
                search.narrow(safe, probability)
        found: dict[str, Change] = {}
        for search in searches:
            if search.found is not None:
                change = self._change(search)
                known = found.get(change.column.name, change)
                found[change.column.name] = min(known, change, key=lambda one: one.size)
        return sorted(found.values(), key=lambda change: change.size)

    def curve(self, column: Column) -> tuple[list[Any], Tried]:
        """Values over the range of a reading, its present one among them, and what becomes of the row at each."""
        values = self._others(column)
        if column.numeric:
            low, high = self._range(column, seen=False)
            most = min(CURVE, self._row.most_changes)
            values = _typed(column, grid.values(low, high, self._digits(column, high - low), most))
        now = self._now(column)
        ordered = sorted({*values, *([] if now is None else [now])}) if column.numeric else values
        return ordered, self._try((column.name, ordered))

    def _searches(self, column: Column, most: int) -> Iterator[_Search]:
        now = self._now(column)
        if isinstance(column.settable, list):
            fixed = sorted(set(_typed(column, column.settable)) - {now}, key=lambda value: abs(value - now))
            yield _Search(column, now, fixed)
        elif column.numeric:
            low, high = self._range(column, seen=True)
            decimals = self._digits(column, high - low)
            values = _typed(column, grid.values(low, high, decimals, most))
            yield _Search(column, now, [value for value in values if value < now][::-1], decimals)
            yield _Search(column, now, [value for value in values if value > now], decimals)
        else:
            yield _Search(column, now, [value for value in self._others(column) if value != now])

    def _now(self, column: Column) -> Any:
        return self._row.readings[column.name].item() if column.name in self._row.readings.columns else None

    def _others(self, column: Column) -> list[Any]:
        return list(column.categories) if column.type == "category" else [False, True]

    def _range(self, column: Column, *, seen: bool) -> tuple[float, float]:
        """Where a reading may lie by its profile; with ``seen``, or where that says nothing, as training saw it."""
        low, high = column.minimum, column.maximum
        number = self._numbers.get(column.name)
        if number is not None:
            least, greatest = (float(plain(bounds[number]) or 0.0) for bounds in self._seen)
            low = least if low is None else max(low, least) if seen else low
            high = greatest if high is None else min(high, greatest) if seen else high
        if low is None or high is None or not np.isfinite([low, high]).all():
            return 0.0, -1.0  # nothing lies in it
        return float(low), float(high)

    def _digits(self, column: Column, span: float) -> int:
        return 0 if column.type == "integer" else grid.digits(column.decimals, span)

    def _change(self, search: _Search) -> Change:
        column, before = search.column, self._now(search.column)
        number = self._numbers.get(column.name)
        size = 1.0
        if column.numeric:
            spread = self._spread[number] if number is not None else 0.0
            low, high = self._range(column, seen=False)
            # A reading that the model sees in derived features alone: a quarter of its range stands for it.
            size = abs(search.found - before) / (spread or (high - low) / 4 or 1.0)
        settable = column.numeric if column.settable is None else column.settable is not False
        return Change(column, before, search.found, search.probability, float(size), settable)

    def _try(self, *changes: tuple[str, Sequence[Any]]) -> Tried:
        rows = self._row.changed(*changes)
        piece = max(1, self._row.most_changes)
        tried = [self._tried(rows.slice(first, piece)) for first in range(0, rows.height, piece)]
        columns = ("probability", "failing", "broken", "known")
        return Tried(*(np.concatenate([getattr(one, name) for one in tried]) for name in columns))

    def _tried(self, rows: pl.DataFrame) -> Tried:
        featured = self._row.featured(rows)
        matrix = features.matrix_of(self._profile, featured)
        scores = self._scorer.score(matrix)
        low, high = self._seen
        with np.errstate(invalid="ignore"):
            outside = ((matrix < low) | (matrix > high)) & (matrix != self._vector)
        broken = features.limits_say(self._profile, featured)
        return Tried(scores.probability, scores.failing, broken, ~outside.any(axis=1))


def _typed(column: Column, values: Sequence[float]) -> list[Any]:
    return [int(value) for value in values] if column.type == "integer" else [float(value) for value in values]
