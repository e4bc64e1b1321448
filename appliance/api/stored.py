"""Rows of the store in the words of the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.api import answer
from appliance.errors import ApplianceError
from appliance.predict import NOBODY
from appliance.profile import Column, Feature, Profile
from appliance.serving import Models

_OF_THE_WHOLE = ("features", "modes", "feature_names", "mode_names", "card")


def short(models: Models, row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a list."""
    profile = _profile(models, row["profile"])
    said = {name: value for name, value in row.items() if name not in _OF_THE_WHOLE}
    if row["machine"] == NOBODY:
        said["machine"] = None
    if profile is not None:
        said["verdict"] = answer.verdict(profile, row["failing"])
    return said


def whole(models: Models, row: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with its features, failure modes and reason.

    Names are those of the model that predicted; titles and units are of the profile as it is served now, where it
    still knows the name.
    """
    profile = _profile(models, row["profile"])
    features = dict(zip(row["feature_names"], row["features"], strict=True))
    modes = dict(zip(row["mode_names"], row["modes"], strict=True))
    said = short(models, row)
    said["threshold"] = row["card"].get("threshold")
    said["features"] = [{"name": name, "value": value, **_words(profile, name)} for name, value in features.items()]
    titles = {mode.name: mode.title for mode in profile.modes} if profile else {}
    said["modes"] = [{"name": n, "title": titles.get(n, n), "probability": p} for n, p in modes.items()]
    if profile and row["failing"] and list(modes) == [mode.name for mode in profile.modes]:
        said["reason"] = answer.why(profile, _values(profile, features), [p or 0.0 for p in modes.values()])
    return said


def machine(models: Models, row: Mapping[str, Any], reason: Mapping[str, Any] | None) -> dict[str, Any]:
    """A machine as it was last; ``reason`` is the prediction of its ``reason_id``, where it is still there."""
    profile = _profile(models, row["profile"])
    said = {**row, "verdict": None, "threshold": profile.threshold if profile else None, "reason": None}
    if profile is not None and row["last_failing"] is not None:
        said["verdict"] = answer.verdict(profile, row["last_failing"])
    if reason is not None:
        known = whole(models, reason).get("reason")
        said["reason"] = known and {**known, "read_at": reason["read_at"], "prediction_id": reason["id"]}
    if said["reason"] is None and row["alarm"] is not None:
        # Of a model that is gone: what was said when the alarm opened.
        told = {"read_at": row["alarm"]["opened_at"], "prediction_id": row["reason_id"]}
        said["reason"] = {**row["alarm"]["details"], **told} if row["alarm"]["details"] else None
    return said


def _profile(models: Models, name: str) -> Profile | None:
    try:
        return models.get(name).profile
    except ApplianceError:
        return None  # its predictions stay readable after it is no longer served


def _words(profile: Profile | None, name: str) -> dict[str, Any]:
    source, _, category = name.partition("=")
    found = _source(profile, source)
    if found is None:
        return {"title": name, "unit": ""}
    title = f"{found.title}: {category}" if category else found.title
    said: dict[str, Any] = {"title": title, "unit": found.unit, "decimals": found.decimals}
    if isinstance(found, Column) and found.ordered:
        said["categories"] = found.categories
    return said


def _values(profile: Profile, features: Mapping[str, float | None]) -> dict[str, Any]:
    """Readings and derived features by name, categories as the words they were: what reasons are made from."""
    values: dict[str, Any] = {}
    for name, value in features.items():
        source, _, category = name.partition("=")
        found = _source(profile, source)
        if category:
            if value:
                values[source] = category
        elif isinstance(found, Column) and found.type == "category":
            values[source] = _category(found.categories, value)
        else:
            values[source] = value
    return values


def _category(categories: Sequence[str], rank: float | None) -> str | None:
    return categories[int(rank)] if rank is not None and 0 <= rank < len(categories) else None


def _source(profile: Profile | None, name: str) -> Column | Feature | None:
    try:
        return profile.feature(name) if profile else None
    except KeyError:
        return None
