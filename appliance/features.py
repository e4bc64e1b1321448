"""The one feature function: a profile's expressions over validated rows, for training, API, schedule and explanation.

Rows come as a Polars frame with the profile's columns (numbers as float64, categories as text, booleans as bool) and,
where the profile has window features, with ``_machine`` and ``_time``. Everything is computed in float64 and cast to
float32 at the end: limits that lie on a rounding edge (8.6 K) need the former, ONNX Runtime the latter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance.errors import ProfileError
from appliance.memo import once
from appliance.profile import MACHINE, TIME, Column, Condition, Feature, Limit, Profile, Window

# A category that the profile does not know; only rows that never passed the contract can hold one.
UNKNOWN_CATEGORY = -1.0
# What small requests hold together: each costs more to hand to the threads of the engine than to do.
_FEW = 512
_IS_HISTORY = "_is_history"
_ORDER = "_order"


def check(profile: Profile) -> None:
    """Refuse a profile whose derived features are no SQL, use unknown columns, or give no number."""
    empty = pl.DataFrame(schema={c.name: dtype(c) for c in profile.columns})
    for number, feature in enumerate(profile.features, start=1):
        if feature.sql is None:
            continue
        place = f"features[{number}] ({feature.name}).sql"
        try:
            expression = pl.sql_expr(feature.sql)
            unknown = set(expression.meta.root_names()) - {c.name for c in profile.columns if c.numeric}
            if unknown:
                raise ProfileError(profile.name, place, f"uses {min(unknown)!r}, which is no numeric column")
            result = empty.select(expression.alias(feature.name))
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise ProfileError(profile.name, place, f"is no SQL expression: {_first_line(error)}") from None
        if not result.dtypes[0].is_numeric():
            raise ProfileError(profile.name, place, f"gives {result.dtypes[0]}, not a number")


def dtype(column: Column) -> pl.DataType:
    """The Polars type of a validated column."""
    return {
        "number": pl.Float64(),
        "integer": pl.Int64(),
        "category": pl.String(),
        "text": pl.String(),
        "boolean": pl.Boolean(),
        "time": pl.Datetime("us", "UTC"),
    }[column.type]


def feature_frame(profile: Profile, rows: pl.DataFrame, history: pl.DataFrame | None = None) -> pl.DataFrame:
    """``rows`` with every derived feature added as float64, in the same order and number.

    ``history`` holds earlier rows of the same machines (``_machine``, ``_time`` and the windowed columns); it only
    feeds window features and is not in the result. A window sees rows up to its own time, late ones included.
    """
    with_columns = rows.with_columns_seq if rows.height <= _FEW else rows.with_columns
    frame = with_columns(_derived(profile))
    windows = [f for f in profile.features if f.window is not None]
    return _with_windows(frame, windows, history) if windows else frame


def carried(profile: Profile, history: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame | None:
    """The ``history`` of what follows ``rows``: the last rows of each machine that windows look back at; else None."""
    if not profile.history_rows:
        return None
    columns = [MACHINE, TIME, *dict.fromkeys(f.window.column for f in profile.features if f.window is not None)]
    seen = rows.select(columns)
    if history is not None:
        seen = pl.concat([history.select(pl.col(name).cast(seen.schema[name]) for name in columns), seen])
    return (
        seen.sort(MACHINE, TIME, maintain_order=True).group_by(MACHINE, maintain_order=True).tail(profile.history_rows)
    )


def matrix(profile: Profile, rows: pl.DataFrame, history: pl.DataFrame | None = None) -> NDArray[np.float32]:
    """The model's input, shape (rows, len(profile.matrix_names)), float32, C-contiguous; missing is NaN."""
    return matrix_of(profile, feature_frame(profile, rows, history))


def matrix_of(profile: Profile, featured: pl.DataFrame) -> NDArray[np.float32]:
    """The same from a frame that :func:`feature_frame` gave."""
    columns = [column for name in profile.model.inputs for column in _input(profile.feature(name), featured[name])]
    filled = np.empty((len(columns), featured.height), np.float32)
    for number, column in enumerate(columns):
        filled[number] = column
    return np.ascontiguousarray(filled.T)


@once
def _derived(profile: Profile) -> list[pl.Expr]:
    return [pl.sql_expr(f.sql).cast(pl.Float64).alias(f.name) for f in profile.features if f.sql is not None]


@once
def _any_limit(profile: Profile) -> pl.Expr | None:
    binding = [limit_expression(profile, limit) for limit in profile.limits if not limit.advisory]
    return pl.any_horizontal(binding).alias("broken") if binding else None


def limit_expression(profile: Profile, limit: Limit) -> pl.Expr:
    """True where a row of a feature frame breaks the limit; a missing value breaks none."""
    expression = pl.lit(True)
    for condition in limit.all:
        value, bound = pl.col(condition.feature), bound_expression(condition)
        expression = expression & (value > bound if condition.above is not None else value < bound)
    return expression.fill_null(False)


def limits_say(profile: Profile, featured: pl.DataFrame) -> NDArray[np.bool_]:
    """The profile's limits alone as a predictor, shape (rows,): the baseline that a model has to beat."""
    broken = _any_limit(profile)
    if broken is None:
        return np.zeros(featured.height, dtype=np.bool_)
    return featured.select(broken).to_series().to_numpy().astype(np.bool_)


def bound_expression(condition: Condition) -> pl.Expr:
    """The bound that holds for a row: a number, or the one of its category."""
    bound = condition.bound
    if isinstance(bound, dict):
        assert condition.by is not None
        return pl.col(condition.by).replace_strict(bound, default=None, return_dtype=pl.Float64)
    return pl.lit(bound)


def _input(source: Column | Feature, values: pl.Series) -> list[NDArray[Any]]:
    """The columns of the matrix that a column of a frame becomes; a missing value is NaN, and belongs to no category."""
    if isinstance(source, Feature) or source.type != "category":
        return [values.cast(pl.Float32).to_numpy()]
    codes = _codes(values, source.categories)
    return [codes] if source.ordered else [codes == code for code in range(len(source.categories))]


def _codes(values: pl.Series, categories: Sequence[str]) -> NDArray[np.float32]:
    codes: dict[str | None, float] = {category: float(code) for code, category in enumerate(categories)}
    codes[None] = math.nan
    if len(values) <= _FEW:
        return np.array([codes.get(value, UNKNOWN_CATEGORY) for value in values.to_list()], np.float32)
    return values.replace_strict(codes, default=UNKNOWN_CATEGORY, return_dtype=pl.Float32).to_numpy()


def _with_windows(frame: pl.DataFrame, windows: list[Feature], history: pl.DataFrame | None) -> pl.DataFrame:
    columns = list({f.window.column: None for f in windows if f.window is not None})
    needed = [MACHINE, TIME, *columns]
    here = frame.select(needed).with_columns(pl.lit(False).alias(_IS_HISTORY))
    if history is not None and history.height:
        before = history.select(pl.col(n).cast(here.schema[n]) for n in needed)
        here = pl.concat([before.with_columns(pl.lit(True).alias(_IS_HISTORY)), here])
    # History first, so that rows of one instant keep the order in which they came.
    here = here.with_row_index(_ORDER).sort(MACHINE, TIME, _ORDER)
    here = here.with_columns(_window(f.window).over(MACHINE).alias(f.name) for f in windows if f.window is not None)
    back = here.filter(~pl.col(_IS_HISTORY)).sort(_ORDER)
    return frame.with_columns(back.select(f.name for f in windows))


def _window(window: Window) -> pl.Expr:
    value = pl.col(window.column).cast(pl.Float64)
    size = window.rows
    match window.function:
        case "mean":
            return value.rolling_mean(size, min_samples=1)
        case "std":
            return value.rolling_std(size, min_samples=2)
        case "min":
            return value.rolling_min(size, min_samples=1)
        case "max":
            return value.rolling_max(size, min_samples=1)
        case "change":
            return value - value.shift(size - 1).fill_null(value.first())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
