"""A profile: one kind of equipment, described in TOML, the single source of truth about it.

Pure and light to import. What needs Polars (the SQL of derived features) is checked by :mod:`appliance.features`,
which every command that takes a profile calls as well.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from appliance import contradictions
from appliance.errors import ProfileError

# Columns that the appliance adds beside those of the profile; the underscore keeps them apart from profile names.
ROW = "_row"  # 1-based number of the data row in its file
MACHINE = "_machine"
TIME = "_time"  # time of reading, UTC

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
Title = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Positive = Annotated[int, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False)


class Words(_Table):
    """How a verdict is said on screens and in messages."""

    failing: Title
    passing: Title
    horizon_hours: Annotated[float, Field(gt=0)] | None = None


class FileFormat(_Table):
    formats: list[Literal["csv", "parquet"]] = ["csv"]
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "windows-1252", "latin-1", "utf-16"] = "utf-8"
    # True where the machine always ends its last line: a file without it was cut off while it was written.
    ends_with_newline: bool = False
    duplicate_rows: Literal["keep", "bad"] = "keep"

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.separator == self.decimal or self.separator in '"\r\n\0':
            raise ValueError("separator must be one character other than the decimal sign, the quote and the line end")
        return self


class MachineSource(_Table):
    from_: Literal["column", "folder", "filename", "constant"] = Field(alias="from")
    column: Name | None = None
    pattern: str | None = None  # for "filename": a regular expression with one group
    value: Title | None = None  # for "constant"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        need = {"column": self.column, "filename": self.pattern, "constant": self.value, "folder": ""}[self.from_]
        if need is None:
            key = {"column": "column", "filename": "pattern", "constant": "value"}[self.from_]
            raise ValueError(f'from = "{self.from_}" needs the key {key}')
        if self.pattern is not None and _regex(self.pattern).groups != 1:
            raise ValueError("pattern must hold exactly one group, the machine's name")
        return self


class TimeSource(_Table):
    from_: Literal["column", "arrival"] = Field(alias="from")
    column: Name | None = None
    format: str | None = None
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone; one looks like Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.from_ == "column" and (self.column is None or self.format is None):
            raise ValueError('from = "column" needs the keys column and format')
        return self


Role = Literal["reading", "context", "identifier", "label", "mode", "machine", "time"]
Kind = Literal["number", "integer", "category", "text", "boolean", "time"]


class Column(_Table):
    """One column of a machine's files. ``header`` and ``aliases`` are its names there, ``name`` its name in code."""

    name: Name
    header: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    aliases: list[str] = []
    title: Title
    description: str = ""
    role: Role = "reading"
    type: Kind
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    decimals: Annotated[int, Field(ge=0, le=9)] | None = None
    categories: list[str] = []
    category_titles: dict[str, str] = {}
    ordered: bool = False  # categories stand for a rank: one feature; otherwise one feature a category
    pattern: str | None = None
    required: bool = True  # the column must be in the file
    nullable: bool = False  # a cell may be empty
    # Whether a person can set this reading: to any value of its range, to these values alone (a new tool has a wear of
    # 0), or not at all, since it is only measured. Where nothing is said, numbers can be set.
    settable: bool | list[float] | None = None
    example: str | float | int | bool | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """Every name under which a file may carry this column; the code name too, for JSON and Parquet."""
        return tuple(dict.fromkeys((self.header, *self.aliases, self.name)))

    @property
    def numeric(self) -> bool:
        return self.type in ("number", "integer")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if (self.minimum is not None or self.maximum is not None) and not self.numeric:
            raise ValueError(f"minimum and maximum belong to numbers, not to type {self.type}")
        if self.minimum is not None and self.maximum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum {self.maximum:g} is below minimum {self.minimum:g}")
        if (self.type == "category") != bool(self.categories):
            raise ValueError("type category needs categories, and only that type has them")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("categories holds one twice")
        if unknown := set(self.category_titles) - set(self.categories):
            raise ValueError(f"category_titles names {min(unknown)!r}, which is no category")
        if self.pattern is not None:
            if self.type != "text":
                raise ValueError(f"pattern belongs to text, not to type {self.type}")
            _regex(self.pattern)
        if (self.type == "time") != (self.role == "time"):
            raise ValueError("type time and role time go together")
        if self.role in ("label", "mode") and self.type != "boolean":
            raise ValueError(f"role {self.role} needs type boolean")
        if isinstance(self.settable, list) and not (
            self.numeric and self.settable and all(map(self._holds, self.settable))
        ):
            raise ValueError("settable must be true, false, or a list of numbers within the range")
        return self

    def _holds(self, value: float) -> bool:
        low, high = self.minimum, self.maximum
        return (low is None or value >= low) and (high is None or value <= high)


class Window(_Table):
    """A figure over the machine's last ``rows`` readings, this one included (fewer where there are fewer)."""

    column: Name
    function: Literal["mean", "std", "min", "max", "change"]
    rows: Annotated[int, Field(ge=2, le=2000)]


class Feature(_Table):
    name: Name
    title: Title
    unit: str = ""
    decimals: Annotated[int, Field(ge=0, le=9)] | None = None
    sql: str | None = None
    window: Window | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.sql is None) == (self.window is None):
            raise ValueError("a feature has either sql or window")
        return self


class ModelInputs(_Table):
    inputs: Annotated[list[Name], Field(min_length=1)]


class Training(_Table):
    split: Literal["stratified", "group"] = "stratified"  # group: all rows of a machine on one side
    trees: Annotated[int, Field(ge=1, le=1000)] = 200
    leaf: Positive = 3
    features_per_split: Annotated[float, Field(gt=0, le=1)] = 0.6


class Mode(_Table):
    """A way to fail; ``column`` holds its label in training data."""

    name: Name
    title: Title
    column: Name
    action: Title | str


class Condition(_Table):
    feature: Name
    above: float | dict[str, float] | None = None
    below: float | dict[str, float] | None = None
    by: Name | None = None  # the category column that chooses among several bounds

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("a condition has either above or below")
        if isinstance(self.bound, dict) != (self.by is not None):
            raise ValueError("bounds per category need the key by, and only they")
        return self

    @property
    def bound(self) -> float | dict[str, float]:
        bound = self.above if self.above is not None else self.below
        assert bound is not None
        return bound


class Limit(_Table):
    """An engineering limit: broken where all its conditions hold. An advisory one warns and predicts nothing."""

    mode: Name
    advisory: bool = False
    all: Annotated[list[Condition], Field(min_length=1)]


class Costs(_Table):
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    missed_failure: Annotated[float, Field(gt=0)]
    false_alarm: Annotated[float, Field(gt=0)]


class AlarmRule(_Table):
    """Open when ``needed`` of the last ``window`` rows fail; close after ``calm`` passing rows in a row."""

    needed: Positive = 3
    window: Positive = 10
    calm: Positive = 10
    cooldown_minutes: Annotated[float, Field(ge=0)] = 10

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.needed > self.window:
            raise ValueError(f"needed {self.needed} is more than window {self.window}")
        return self


class Profile(_Table):
    schema_: Literal[1] = Field(alias="schema")
    name: Name
    title: Title
    description: str = ""
    words: Words
    file: FileFormat = FileFormat()
    machine: MachineSource
    time: TimeSource
    columns: Annotated[list[Column], Field(min_length=1, max_length=2000)]
    features: list[Feature] = []
    model: ModelInputs
    training: Training = Training()
    modes: list[Mode] = []
    limits: list[Limit] = []
    costs: Costs
    alarms: AlarmRule = AlarmRule()

    def column(self, name: str) -> Column:
        """The column with that code name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def feature(self, name: str) -> Column | Feature:
        """The reading or derived feature with that name; KeyError where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        return self.column(name)

    def with_role(self, *roles: Role) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.role in roles)

    @property
    def label(self) -> Column | None:
        return next(iter(self.with_role("label")), None)

    @property
    def threshold(self) -> float:
        """The probability from which a warning costs less than silence: C_false / (C_false + C_missed)."""
        return self.costs.false_alarm / (self.costs.false_alarm + self.costs.missed_failure)

    @property
    def matrix_names(self) -> tuple[str, ...]:
        """Names of the model matrix's columns, in order; an unordered category is one column a category."""
        names: list[str] = []
        for name in self.model.inputs:
            source = self.feature(name)
            if isinstance(source, Column) and source.type == "category" and not source.ordered:
                names += [f"{name}={category}" for category in source.categories]
            else:
                names.append(name)
        return tuple(names)

    @property
    def history_rows(self) -> int:
        """How many earlier rows of a machine the window features need."""
        return max((f.window.rows - 1 for f in self.features if f.window), default=0)

    def hash(self) -> str:
        """SHA-256 (hex) of the whole profile, independent of its layout and comments."""
        whole = self.model_dump(mode="json", by_alias=True)
        for column in whole["columns"]:
            if column["settable"] is None:
                del column["settable"]  # a younger key: profiles that do not use it keep their hash
        return _digest(whole)

    def contract_hash(self) -> str:
        """SHA-256 (hex) of what decides how a file is read and which rows are good."""
        keep = {"name", "file", "machine", "time", "columns"}
        told = self.model_dump(mode="json", by_alias=True, include=keep, exclude={"columns": {"__all__": {"settable"}}})
        return _digest(told)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for problem in contradictions.of(self):
            raise ValueError(problem)
        return self


def load(path: Path) -> Profile:
    """Read a profile; :class:`ProfileError` names the place and the reason of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(str(path), "", f"cannot be read ({error})") from None
    return parse(text, source=path.name)


def parse(text: str, source: str = "profile") -> Profile:
    """The profile in a TOML text; ``source`` is what errors call it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(source, "", f"is no TOML: {error}") from None
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise ProfileError(source, _place(table, first["loc"]), reason[:1].lower() + reason[1:]) from None


def _place(table: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """``("columns", 3, "maximum")`` -> ``columns[3] (torque).maximum``: counted, and named where it has a name."""
    place, here = "", table
    for step in loc:
        try:
            here = here[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            here = {}
        if isinstance(step, int):
            name = here.get("name") if isinstance(here, dict) else None
            place += f"[{step + 1}]" + (f" ({name})" if name else "")
        else:
            place += f".{step}" if place else str(step)
    return place


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
