"""What no table of a profile can see alone: names that are taken twice, or do not exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.profile import Column, Condition, Profile


def of(profile: Profile) -> Iterator[str]:
    """Each contradiction as a sentence."""
    columns = {c.name: c for c in profile.columns}
    derived = {f.name for f in profile.features}
    for kind, names in (
        ("columns", [c.name for c in profile.columns]),
        ("features", [f.name for f in profile.features]),
        ("modes", [m.name for m in profile.modes]),
        ("model.inputs", profile.model.inputs),
    ):
        if len(set(names)) != len(names):
            yield f"{kind} holds {next(n for n in names if names.count(n) > 1)!r} twice"
    headers = [h for c in profile.columns for h in c.headers]
    if len(set(headers)) != len(headers):
        yield f"two columns go by the header {next(h for h in headers if headers.count(h) > 1)!r}"
    if both := derived & set(columns):
        yield f"{min(both)!r} is a column and a feature"
    if len(profile.with_role("label")) > 1:
        yield "more than one column has the role label"
    for source, role in ((profile.machine, "machine"), (profile.time, "time")):
        wanted = source.column if source.from_ == "column" else None
        found = [c.name for c in profile.columns if c.role == role]
        if found != ([wanted] if wanted else []):
            yield f"[{role}] says column {wanted!r}, while the columns of that role are {found}"
    for name in profile.model.inputs:
        if name in derived:
            continue
        if name not in columns:
            yield f"model.inputs names {name!r}, which is no column and no feature"
        elif columns[name].role != "reading" or columns[name].type not in ("number", "integer", "category", "boolean"):
            yield f"model.inputs names {name!r}; only readings (number, integer, category, boolean) can be inputs"
        elif not columns[name].required:
            yield f"model.inputs names {name!r}, which files may leave out; set required = true"
    for feature in profile.features:
        if feature.window and not (feature.window.column in columns and columns[feature.window.column].numeric):
            yield f"features ({feature.name}): window.column {feature.window.column!r} is no numeric column"
    for mode in profile.modes:
        if mode.column not in columns or columns[mode.column].role != "mode":
            yield f"modes ({mode.name}): {mode.column!r} is no column with the role mode"
    for limit in profile.limits:
        if limit.mode not in {m.name for m in profile.modes}:
            yield f"limits: {limit.mode!r} is no mode"
        for condition in limit.all:
            yield from _in_condition(condition, columns, derived)


def _in_condition(condition: Condition, columns: Mapping[str, Column], derived: set[str]) -> Iterator[str]:
    name = condition.feature
    if name not in derived and not (name in columns and columns[name].numeric):
        yield f"limits: {name!r} is no feature and no numeric column"
    if condition.by is not None:
        by = columns.get(condition.by)
        if by is None or by.type != "category":
            yield f"limits: by names {condition.by!r}, which is no category column"
        elif isinstance(condition.bound, dict) and set(condition.bound) != set(by.categories):
            yield f"limits: the bounds of {name!r} must name each category of {condition.by!r} once"
