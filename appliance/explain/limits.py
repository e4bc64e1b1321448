"""The engineering limits of a profile in words, each with the row's values and how far they are from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.profile import Condition, Limit, Profile
from appliance.reasons import amount, bound, condition_words, is_broken

_NOISE = 1e-9  # what is left of sums of decimal fractions


def limits(profile: Profile, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``values``: readings and derived features of the row by name; what is missing breaks no limit.

    ``distance`` is how far a value is on the safe side of a bound, in the feature's unit, and below 0 beyond it.
    """
    titles = {mode.name: mode.title for mode in profile.modes}
    return [
        {
            "mode": limit.mode,
            "title": titles[limit.mode],
            "advisory": limit.advisory,
            "broken": is_broken(limit.all, values),
            "text": " and ".join(_words(profile, condition, values) for condition in limit.all),
            "conditions": [_condition(profile, condition, values) for condition in limit.all],
        }
        for limit in profile.limits
    ]


def compared(profile: Profile, failing: bool, values: Mapping[str, Any]) -> dict[str, Any]:
    """The model beside the limits alone; ``limits`` is None where the profile has none that bind."""
    binding = [limit for limit in profile.limits if not limit.advisory]
    broken = _any_broken(binding, values) if binding else None
    said = {
        (True, True): "The model and the engineering limits both warn.",
        (True, False): "The model warns, while no engineering limit is broken.",
        (False, True): "An engineering limit is broken, while the model does not warn.",
        (False, False): "Neither the model nor an engineering limit warns.",
        (True, None): "The model warns; the profile holds no engineering limit to compare it with.",
        (False, None): "The model does not warn; the profile holds no engineering limit to compare it with.",
    }
    return {
        "model": failing,
        "limits": broken,
        "agree": None if broken is None else broken == failing,
        "text": said[failing, broken],
    }


def _any_broken(limits: list[Limit], values: Mapping[str, Any]) -> bool:
    return any(is_broken(limit.all, values) for limit in limits)


def _condition(profile: Profile, condition: Condition, values: Mapping[str, Any]) -> dict[str, Any]:
    source = profile.feature(condition.feature)
    return {
        "feature": condition.feature,
        "title": source.title,
        "unit": source.unit,
        "value": values.get(condition.feature),
        "above" if condition.above is not None else "below": bound(condition, values),
        "broken": is_broken([condition], values),
        "distance": _distance(condition, values),
    }


def _distance(condition: Condition, values: Mapping[str, Any]) -> float | None:
    value, limit = values.get(condition.feature), bound(condition, values)
    if value is None or limit is None:
        return None
    return float(limit - value if condition.above is not None else value - limit)


def _words(profile: Profile, condition: Condition, values: Mapping[str, Any]) -> str:
    """``Strain 11,430 min N.m, limit 11,000 for quality low: 430 min N.m beyond it``."""
    source, distance = profile.feature(condition.feature), _distance(condition, values)
    if distance is None:
        return f"{source.title} is not known"
    said = condition_words(profile, condition, values)
    if abs(distance) <= _NOISE * max(1.0, abs(values[condition.feature])):
        return f"{said}: just at it"
    return f"{said}: {_far(profile, condition.feature, abs(distance))} {'beyond it' if distance < 0 else 'left'}"


def _far(profile: Profile, name: str, distance: float) -> str:
    """A distance in the feature's digits, and in two of its own where those show nothing of it."""
    unit, decimals = profile.feature(name).unit, profile.feature(name).decimals
    if decimals is not None and round(distance, decimals) == 0:
        return f"{distance:.2g} {unit}".strip()
    return amount(profile, name, distance)
