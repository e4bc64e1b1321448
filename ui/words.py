"""How figures, ages, times and states are said: in the profile's digits and units, in plant time, never by colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ui.texts import t

NONE = "–"

# A letter or sign beside each colour, so that nothing hangs on telling colours apart.
STATES: Mapping[str, tuple[str, str]] = {
    "open": ("red", "notification_important"),
    "acknowledged": ("orange", "engineering"),
    "snoozed": ("violet", "snooze"),
    "closed": ("gray", "check_circle"),
    "failing": ("orange", "warning"),
    "passing": ("green", "check"),
    "stale": ("gray", "hourglass_disabled"),
    "silent": ("gray", "question_mark"),
}


def number(value: float | None, decimals: int | None = None) -> str:
    """``11,430``"""
    if value is None:
        return NONE
    return f"{value:,.{decimals}f}" if decimals is not None else f"{value:,.6g}"


def rough(value: float | None) -> str:
    """A number whose digits nobody chose, such as the end of a range that was seen: ``187.4``, ``10,533``."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def amount(value: Any, column: Mapping[str, Any]) -> str:
    """A value of a column or feature of the profile, as an engineer writes it: ``11,430 min N.m``."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return t("words.yes") if value else t("words.no")
    if isinstance(value, int | float):
        text = number(value, column.get("decimals"))
        return f"{text} {column['unit']}" if column.get("unit") else text
    return str(column.get("category_titles", {}).get(value, value))


def probability(value: float | None) -> str:
    """``63 %``; what is not certain is never said to be."""
    if value is None:
        return NONE
    if 0 < value < 0.01:
        return "< 1 %" if value < 0.005 else "1 %"
    if 0.99 < value < 1:
        return "> 99 %" if value > 0.995 else "99 %"
    return f"{value:.0%}".replace("%", " %")


def threshold(value: float) -> str:
    """Thresholds are small, and their digits matter: ``3.2 %``."""
    return f"{value:.1%}".replace("%", " %")


def moment(text: str | datetime | None) -> datetime | None:
    """A time of the API."""
    if text is None or isinstance(text, datetime):
        return text
    return datetime.fromisoformat(text)


def now() -> datetime:
    return datetime.now(UTC)


def when(text: str | datetime | None, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """In plant time: only the clock today, else with the date."""
    at = moment(text)
    if at is None:
        return NONE
    local = at.astimezone(zone)
    clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    return clock if local.date() == now().astimezone(zone).date() else f"{local:%Y-%m-%d} {clock}"


def age(then: str | datetime | None, at: datetime | None = None) -> str:
    """``12 s``, ``5 min``, ``3 h``, ``4 d``: how long ago; clocks that disagree by a little make no future."""
    moment_ = moment(then)
    if moment_ is None:
        return t("words.never")
    return span(((at or now()) - moment_).total_seconds())


def span(seconds: float) -> str:
    whole = max(0, int(seconds))
    for unit, size, until in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if whole < until:
            return f"{whole // size} {unit}"
    return f"{whole // 86400} d"


def badge(state: str, label: str | None = None) -> str:
    """Markdown of a state: a sign, a word and a colour."""
    colour, icon = STATES[state]
    text = label if label is not None else t(f"state.{state}")
    return f":{colour}-badge[:material/{icon}: {plain(text)}]"


def plain(text: str) -> str:
    """What strangers wrote, so that Markdown shows it as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()<>#+-.!|~:$&" else " " if c in "\r\n" else c for c in text)
