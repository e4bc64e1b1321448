"""How long a cron expression may be silent at most: what tells a schedule that rests from one that is dead. Pure."""

from __future__ import annotations

from datetime import timedelta

_MINUTES, _HOURS = range(60), range(24)
_DAY = 24 * 60
# Days between two that fit, at most: each field that names some days, and not all, adds its own.
_MONTH_DAY, _MONTH, _WEEKDAY = 62, 366, 7
_ALL = ("*", "*/1")


def longest_gap(expression: str) -> timedelta | None:
    """An upper bound of the time between two moments of ``minute hour day month weekday``; None where it is none.

    Exact where every day fits; where only some do, whole days are added.
    """
    fields = expression.split()
    if len(fields) != 5:
        return None
    minutes, hours = _numbers(fields[0], _MINUTES), _numbers(fields[1], _HOURS)
    if not minutes or not hours:
        return None
    moments = sorted(60 * hour + minute for hour in hours for minute in minutes)
    gap = max(after - before for before, after in zip(moments, [*moments[1:], moments[0] + _DAY], strict=True))
    days = sum(
        size for field, size in zip(fields[2:], (_MONTH_DAY, _MONTH, _WEEKDAY), strict=True) if field not in _ALL
    )
    return timedelta(minutes=gap, days=days)


def _numbers(field: str, allowed: range) -> set[int]:
    """The numbers that a field of minutes or hours names; empty where it is none."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        words = [word for word, there in ((step, slash), (first, span != "*"), (last, dash)) if there]
        if not all(word.isascii() and word.isdigit() for word in words):
            return set()
        if span == "*":
            low, high = allowed.start, allowed.stop - 1
        else:
            low = int(first)
            high = int(last) if dash else allowed.stop - 1 if slash else low
        if low not in allowed or high not in allowed or low > high or (slash and int(step) == 0):
            return set()
        found |= set(range(low, high + 1, int(step) if slash else 1))
    return found
