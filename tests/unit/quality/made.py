"""Small ways to check, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl

from appliance import profile as profiles
from appliance.profile import Profile
from appliance.quality import Checker, Issue
from appliance.reader import read_bytes

NOW = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)


class Result(NamedTuple):
    good: pl.DataFrame
    bad: pl.DataFrame
    issues: list[Issue]

    def reasons(self) -> dict[int, str]:
        return dict(self.bad.select("_row", "_reasons").rows())

    def rules(self) -> dict[tuple[str, str], int]:
        return {(issue.rule, issue.column): issue.count for issue in self.issues}


def check(data: str | bytes, profile: Profile, origin: str = "M1", form: Any = "csv", **options: Any) -> Result:
    """A whole file from its bytes (a text: with a UTF-8 mark)."""
    body = data if isinstance(data, bytes) else f"\ufeff{data}".encode()
    good, bad = [], []
    with read_bytes(body, form, profile, **options) as reader:
        checker = Checker(profile, reader.header, origin, NOW)
        for batch in reader:
            checked = checker.check(batch)
            good.append(checked.good)
            bad.append(checked.bad)
    return Result(pl.concat(good), pl.concat(bad), checker.issues())


def one_column(**column: Any) -> Profile:
    """A profile of one reading ``x`` as given, beside a number that makes it a profile."""
    table = {
        "schema": 1,
        "name": "one",
        "title": "One",
        "words": {"failing": "fails", "passing": "holds"},
        "file": column.pop("file", {"separator": ";"}),
        "machine": {"from": "constant", "value": "M1"},
        "time": column.pop("time", {"from": "arrival"}),
        "columns": [
            {"name": "x", "header": "X", "title": "X"} | column,
            {"name": "other", "header": "Other", "title": "Other", "type": "number", "nullable": True},
        ],
        "model": {"inputs": ["other"]},
        "costs": {"missed_failure": 2, "false_alarm": 1},
    }
    return profiles.Profile.model_validate(table)


def values(profile: Profile, *cells: str, **options: Any) -> tuple[list[Any], dict[int, str]]:
    """The typed values of ``x`` in good rows, and the rules that the bad ones break, by row."""
    quoted = ("".join(f'"{cell}"' if cell == "" or ";" in cell else cell) for cell in cells)
    result = check("X;Other\n" + "".join(f"{cell};1\n" for cell in quoted), profile, **options)
    return result.good["x"].to_list(), result.reasons()
