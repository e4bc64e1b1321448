"""The contract: what a validated row of a profile promises, as rules and as the Pandera schema made of them.

The rules say which rows are bad and why, at the same price however many that are. What they leave is validated with
Pandera, types and all, before it counts as good. The few rows of a request are spared that: Pandera takes
milliseconds and a hundred megabytes however few they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance.cells import cast, time_format
from appliance.errors import ApplianceError, ProfileError
from appliance.features import dtype
from appliance.memo import once
from appliance.profile import Column, Profile

if TYPE_CHECKING:
    import pandera.polars as pa

# Rows up to which the rules alone have to do.
FEW_ROWS = 512

Broken = list[tuple[str, str, NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """``holds``: true where the cell of the column keeps the rule; an empty cell breaks ``not_null`` alone."""

    name: str
    column: str
    holds: pl.Expr


def check(profile: Profile) -> None:
    """:class:`ProfileError` where a pattern or the time format is none that the checks can use."""
    for number, column in enumerate(profile.columns, start=1):
        if column.pattern is not None:
            try:
                pl.Series([""]).str.contains(column.pattern)
            except pl.exceptions.PolarsError:
                reason = f"{column.pattern!r} uses what the checks do not know, such as look-around or back references"
                raise ProfileError(profile.name, f"columns[{number}] ({column.name}).pattern", reason) from None
    if profile.time.from_ == "column":
        _check_time(profile)


def rules(profile: Profile, present: Sequence[str]) -> Sequence[Rule]:
    """The rules of the columns that a file has, by their names in code."""
    return _rules(profile, tuple(present))


@once
def _rules(profile: Profile, present: Sequence[str]) -> Sequence[Rule]:
    return tuple(_rules_of(profile, present))


@once
def _breaks(profile: Profile, present: Sequence[str]) -> Sequence[pl.Expr]:
    return [(~rule.holds).alias(str(number)) for number, rule in enumerate(_rules(profile, present))]


def _rules_of(profile: Profile, present: Sequence[str]) -> Iterator[Rule]:
    for column in profile.columns:
        if column.name not in present:
            continue
        value = pl.col(column.name)
        if not _may_be_empty(column):
            yield Rule("not_null", column.name, value.is_not_null())
        for name, holds in _values(column, value):
            yield Rule(name, column.name, holds.fill_null(True))


def broken(profile: Profile, frame: pl.DataFrame) -> Broken:
    """(rule, column, true where a row breaks it; shape (rows,)) of the rules that any row of a typed frame breaks."""
    present = tuple(frame.columns)
    result = frame.select(_breaks(profile, present))
    wanted = _rules(profile, present)
    return [(rule.name, rule.column, mask.to_numpy()) for rule, mask in zip(wanted, result, strict=True) if mask.any()]


def validate(profile: Profile, frame: pl.DataFrame) -> Broken:
    """What Pandera finds wrong with rows that broke no rule: nothing, unless this appliance has a fault."""
    import pandera.config
    import pandera.errors

    present = [column.name for column in profile.columns if column.name in frame.columns]
    wanted = schema(profile, present)
    try:
        # Environment variables can switch validation off; here it is what keeps bad rows out.
        with pandera.config.config_context(
            validation_enabled=True, validation_depth=pandera.config.ValidationDepth.SCHEMA_AND_DATA
        ):
            # A lazy frame would be checked for its types only, and pass.
            wanted.validate(frame.select(present), lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return _masks(errors.failure_cases, frame.height)
    return []


def schema(profile: Profile, present: Sequence[str]) -> pa.DataFrameSchema:
    """The Pandera schema of a validated frame; columns that the profile does not name are left alone."""
    import pandera.polars as pa

    checks: dict[str, list[pa.Check]] = {name: [] for name in present}
    for rule in rules(profile, present):
        if rule.name != "not_null":
            checks[rule.column].append(_as_check(rule))
    columns = {
        column.name: pa.Column(dtype(column), checks[column.name], nullable=_may_be_empty(column))
        for column in profile.columns
        if column.name in present
    }
    return pa.DataFrameSchema(columns, strict=False, name=profile.name)


def _may_be_empty(column: Column) -> bool:
    """What a file may leave out altogether, such as a label that nobody knows yet, a row may leave out too."""
    return column.nullable or not column.required


def _values(column: Column, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if column.type == "number":
        yield "not_finite", value.is_finite()
    if column.minimum is not None or column.maximum is not None:
        low = value >= column.minimum if column.minimum is not None else pl.lit(True)
        yield "range", low & (value <= column.maximum) if column.maximum is not None else low
    if column.categories:
        yield "category", value.is_in(column.categories)
    if column.pattern is not None:
        yield "pattern", value.str.contains(column.pattern)


def _as_check(rule: Rule) -> pa.Check:
    import pandera.polars as pa

    def holds(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pa.Check(holds, name=rule.name, error=rule.name)


def _check_time(profile: Profile) -> None:
    """A format is fit where it reads back what it wrote, and reads the example."""
    column = profile.column(profile.time.column or "")
    place = f"[time].format {profile.time.format!r}"
    if re.search(r"(?<![%.])(?:%%)*%f", time_format(profile)):
        raise ProfileError(
            profile.name, place, "has %f without a point before it; write %3f, %6f or %9f for its digits"
        )
    try:
        moment = pl.Series([datetime(2026, 3, 1, 8, 5, 9)], dtype=pl.Datetime("us"))
        written = moment.dt.replace_time_zone("UTC").dt.strftime(time_format(profile))
        texts = [written.item(), *([column.example] if isinstance(column.example, str) else [])]
        frame = pl.DataFrame({column.header: texts}, schema={column.header: pl.String})
        read = frame.select(cast(column, column.header, profile, pl.String()).value).to_series()
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ProfileError(profile.name, place, f"is no format of dates and times: {error}".split("\n")[0]) from None
    for text, value in zip(texts, read, strict=True):
        if value is None:
            raise ProfileError(profile.name, place, f"gives no date and time for {text!r}")


def _masks(cases: Any, rows: int) -> Broken:
    if cases["index"].null_count():
        first = cases.filter(pl.col("index").is_null()).row(0, named=True)
        raise ApplianceError(
            f"The rows do not have the types of the contract: {first['column']} {first['check']}.",
            "This is a fault of the appliance: please report it with a support bundle.",
        )
    found = []
    for (column, name), group in cases.group_by("column", "check", maintain_order=True):
        mask = np.zeros(rows, dtype=np.bool_)
        mask[group["index"].to_numpy()] = True
        found.append(("not_null" if name == "not_nullable" else str(name), str(column), mask))
    return found
