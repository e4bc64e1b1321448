"""Queries as Grafana's PostgreSQL data source sends them: variables first, then macros.

Written anew after the data source's own rules: a macro's arguments end at the first closing bracket and are parted at
commas; an interval is a number with a unit; a chosen value of a variable that takes several is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


class UnknownMacro(Exception):
    pass


def expand(
    sql: str, since: datetime, until: datetime, values: Mapping[str, str | Sequence[str]], interval: str = "1m"
) -> str:
    """``values``: of each variable what is chosen (quoted one by one), or what stands for all as it is."""
    return macros(variables(sql, values, interval), since, until)


def variables(sql: str, values: Mapping[str, str | Sequence[str]], interval: str = "1m") -> str:
    """What the page does before it sends a statement."""

    def variable(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name == "__interval":
            return interval
        if name == "__interval_ms":
            return str(int(_interval(interval) * 1000))
        if name.startswith("__"):
            return found[0]
        value = values[name]
        if isinstance(value, str):
            return value
        return ",".join("'" + one.replace("'", "''") + "'" for one in value)

    return _VARIABLE.sub(variable, sql)


def macros(sql: str, since: datetime, until: datetime) -> str:
    """What the data source does with it then."""

    def macro(found: re.Match[str]) -> str:
        arguments = [argument.strip(" ") for argument in found[2].split(",")]
        name = found[1]
        # Before a comma, the name of old is taken for the one that gives the column its name.
        if name == "__timeGroup" and sql[sql.index(found[0]) + len(found[0]) :].startswith(","):
            name = "__timeGroupAlias"
        match name:
            case "__timeFilter":
                return f"{arguments[0]} BETWEEN '{_moment(since)}' AND '{_moment(until)}'"
            case "__timeFrom":
                return f"'{_moment(since)}'"
            case "__timeTo":
                return f"'{_moment(until)}'"
            case "__timeGroup" | "__timeGroupAlias":
                seconds = f"{_interval(arguments[1].strip(chr(39))):g}"
                group = f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
                return f'{group} AS "time"' if name.endswith("Alias") else group
        raise UnknownMacro(name)

    return _MACRO.sub(macro, sql)


def _interval(text: str) -> float:
    found = re.fullmatch(r"(\d+)(ms|[smhdwy])", text)
    if found is None:
        raise UnknownMacro(f"{text} is no interval")
    return int(found[1]) * _SECONDS[found[2]]


def _moment(when: datetime) -> str:
    assert when.utcoffset() == timedelta(0)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
