"""One scored row -> words in plant units: which way of failing, which limit with which value, what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.profile import Column, Condition, Profile


@dataclass(frozen=True, slots=True)
class Reason:
    """``mode`` is the code name of the way of failing, or ``None`` where the profile knows none."""

    mode: str | None
    title: str
    text: str  # "Strain 11,430 min N.m, limit 11,000"
    action: str


def reason(profile: Profile, values: Mapping[str, Any], modes: Sequence[float]) -> Reason:
    """The dominant reason of a row predicted to fail.

    ``values`` are its readings and derived features by name, ``modes`` the probabilities of the profile's modes in
    their order. A broken limit speaks first, in numbers that can be checked on the machine; without one, the most
    likely mode does.
    """
    ranked = sorted(zip(modes, profile.modes, strict=True), key=lambda pair: -pair[0])
    broken = {limit.mode: limit for limit in reversed(profile.limits) if is_broken(limit.all, values)}
    for advisory in (False, True):
        for _, mode in ranked:
            limit = broken.get(mode.name)
            if limit is not None and limit.advisory == advisory:
                text = " and ".join(condition_words(profile, condition, values) for condition in limit.all)
                return Reason(mode.name, mode.title, text, mode.action)
    if ranked:
        share, mode = ranked[0]
        return Reason(mode.name, mode.title, f"{mode.title} {share:.0%} likely, no limit broken", mode.action)
    return Reason(None, profile.words.failing, profile.words.failing, "")


def amount(profile: Profile, name: str, value: float, *, unit: bool = True) -> str:
    """A value as an engineer writes it: ``11,430 min N.m``."""
    source = profile.feature(name)
    decimals = source.decimals
    text = f"{value:,.{decimals}f}" if decimals is not None else f"{value:,.6g}"
    return f"{text} {source.unit}" if unit and source.unit else text


def condition_words(profile: Profile, condition: Condition, values: Mapping[str, Any]) -> str:
    """``Strain 11,430 min N.m, limit 11,000 for quality low``; value and bound have to be known."""
    limit = bound(condition, values)
    assert limit is not None
    source = profile.feature(condition.feature)
    value = amount(profile, condition.feature, values[condition.feature])
    words = f"{source.title} {value}, {'limit' if condition.above is not None else 'least'} "
    words += f"{limit:,.10g}"
    if condition.by is not None:
        by = profile.column(condition.by)
        words += f" for {by.title.lower()} {category_title(by, values[condition.by])}"
    return words


def category_title(column: Column, category: str) -> str:
    return column.category_titles.get(category, category)


def is_broken(conditions: Sequence[Condition], values: Mapping[str, Any]) -> bool:
    """Whether all of them hold; a missing value meets none."""
    for condition in conditions:
        value, limit = values.get(condition.feature), bound(condition, values)
        if value is None or limit is None:
            return False
        if not (value > limit if condition.above is not None else value < limit):
            return False
    return True


def bound(condition: Condition, values: Mapping[str, Any]) -> float | None:
    """The bound that holds for a row: the number, or the one of its category."""
    either = condition.bound
    return either.get(values.get(condition.by or "", "")) if isinstance(either, dict) else either
