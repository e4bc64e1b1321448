"""Profile -> the shape of its rows in JSON, for the description of the API and for whoever generates code from it.

What a request is checked by is the contract; that both agree on every row is tested.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from appliance.memo import once
from appliance.profile import Column, Profile

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


# More rows than that belong into a file; as JSON they would be many times its size.
MOST_JSON_ROWS = 10_000


def row_model(profile: Profile) -> type[BaseModel]:
    """One row of the profile."""
    fields: dict[str, Any] = {column.name: _field(column) for column in profile.columns}
    return create_model(
        f"{_camel(profile.name)}Row", __config__=_STRICT, __doc__=profile.description or profile.title, **fields
    )


def body_model(profile: Profile) -> type[BaseModel]:
    """The body of ``POST /predict`` for the profile."""
    row = row_model(profile)
    text = "All of them are predicted and stored, or none."
    rows = Field(min_length=1, max_length=MOST_JSON_ROWS, description=text)
    fields: dict[str, Any] = {"rows": (list[row], rows), **_circumstances(profile)}  # type: ignore[valid-type]
    return create_model(
        f"{_camel(profile.name)}Rows", __config__=_STRICT, __doc__=f"Rows of {profile.title}.", **fields
    )


def explain_model(profile: Profile) -> type[BaseModel]:
    """The body of ``POST /explain`` for a row of the profile that is tried out."""
    readings = [c for c in profile.with_role("reading") if c.numeric or c.type in ("category", "boolean")]
    text = "A reading: the answer tells what becomes of the row over its range."
    fields: dict[str, Any] = {
        "profile": (Literal[profile.name], ...),
        "row": (row_model(profile), ...),
        **_circumstances(profile),
    }
    if readings:
        fields["curve"] = (Annotated[Literal[tuple(c.name for c in readings)] | None, Field(description=text)], None)
    return create_model(
        f"Explain{_camel(profile.name)}Row", __config__=_STRICT, __doc__=f"A row of {profile.title}.", **fields
    )


def _circumstances(profile: Profile) -> dict[str, Any]:
    """What stands beside rows that do not tell their machine or time themselves."""
    fields: dict[str, Any] = {}
    if takes_machine(profile):
        text = "The machine that these rows are of. Without it they are somebody's question, and no machine's reading."
        fields["machine"] = (Annotated[str | None, Field(max_length=100, description=text)], None)
    if profile.time.from_ == "arrival":
        text = "When they were read: ISO 8601 with a time zone. Without it: now."
        fields["time"] = (
            Annotated[str | None, Field(json_schema_extra={"format": "date-time"}, description=text)],
            None,
        )
    return fields


@once
def contract_of_json(profile: Profile) -> Profile:
    """The profile whose contract JSON rows are held to: what a model does not need may be left out of them.

    Who asks about a setting has no record number for it, and does not know yet whether it fails.
    """
    return profile.model_copy(
        update={
            "columns": [
                column if needed(column) else column.model_copy(update={"required": False, "nullable": True})
                for column in profile.columns
            ]
        }
    )


def needed(column: Column) -> bool:
    """Whether a JSON row has to hold the column."""
    return column.required and column.role in ("reading", "context", "machine", "time")


def takes_machine(profile: Profile) -> bool:
    """True where the rows do not name their machine, and the request has to."""
    return profile.machine.from_ in ("folder", "filename")


def example_row(profile: Profile) -> dict[str, Any]:
    """A row that is accepted as it stands: the profile's examples, and a sound value where it gives none."""
    return {column.name: _example(column) for column in profile.columns if needed(column)}


def example(profile: Profile) -> dict[str, Any]:
    """A body that is accepted as it stands."""
    machine = {"machine": "machine-1"} if takes_machine(profile) else {}
    return {"rows": [example_row(profile)], **machine}


def explain_example(profile: Profile) -> dict[str, Any]:
    """A question about a row that is answered as it stands."""
    return {"profile": profile.name, "row": example_row(profile)}


def example_csv(profile: Profile) -> str:
    """The same row as a CSV file of the machine."""
    sign = profile.file.separator
    columns = [column for column in profile.columns if column.required]
    cells = [_cell(profile, column) for column in columns]
    return f"{sign.join(column.header for column in columns)}\n{sign.join(cells)}\n"


def _field(column: Column) -> tuple[Any, Any]:
    words = [column.description]
    if column.unit:
        words.append(f"Unit: {column.unit}.")
    if column.category_titles:
        words.append("; ".join(f"{name}: {title}" for name, title in column.category_titles.items()) + ".")
    extra: dict[str, Any] = {"x-role": column.role}
    if column.unit:
        extra["x-unit"] = column.unit
    # Whole numbers are kept in 64 bits.
    limits: dict[str, Any] = {"ge": -(2**63), "le": 2**63 - 1} if column.type == "integer" else {}
    if column.minimum is not None:
        limits["ge"] = column.minimum
    if column.maximum is not None:
        limits["le"] = column.maximum
    if column.type == "time":
        extra["format"] = "date-time"
    info = Field(
        title=column.title, description=" ".join(filter(None, words)) or None, json_schema_extra=extra, **limits
    )
    kind = _type(column) if needed(column) and not column.nullable else _type(column) | None
    return Annotated[kind, info], (... if needed(column) else None)


def _type(column: Column) -> Any:
    match column.type:
        case "category":
            return Literal[tuple(column.categories)]
        case "number":
            return float
        case "integer":
            return int
        case "boolean":
            return bool
        case "text" if column.pattern is not None:
            return Annotated[str, Field(pattern=column.pattern)]
    return str


def _example(column: Column) -> Any:
    if column.type == "time":
        return "2026-03-01T08:00:00+01:00"
    if column.example is not None:
        return column.example
    if column.numeric:
        low = column.minimum if column.minimum is not None else min(0.0, column.maximum or 0.0)
        return int(low) if column.type == "integer" else low
    return {"category": column.categories[0] if column.categories else "", "boolean": False}.get(column.type, "text")


def _cell(profile: Profile, column: Column) -> str:
    value = column.example if column.example is not None else _example(column)
    if isinstance(value, bool):
        return str(int(value))
    return str(value).replace(".", profile.file.decimal) if column.numeric else str(value)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
