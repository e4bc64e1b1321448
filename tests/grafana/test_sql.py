"""Every statement that a dashboard sends, on a real PostgreSQL, as the role that may only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from grafana import files
from tests.grafana.conftest import Looked
from tests.grafana.expand import UnknownMacro, expand

_DASHBOARDS = {one.uid: one.as_json() for one in files.DASHBOARDS}


def statements() -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(where, target, its dashboard's uid)."""
    for uid, dashboard in _DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{uid}: {panel['title']} {target['refId']}", target, uid
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{uid}: variable {variable['name']}", {"rawSql": variable["query"], "format": "variable"}, uid
        for note in dashboard["annotations"]["list"]:
            yield f"{uid}: annotation {note['name']}", note["target"], uid


ALL = list(statements())


def everything(uid: str) -> dict[str, str]:
    return {v["name"]: v.get("allValue", v.get("query", "")) for v in _DASHBOARDS[uid]["templating"]["list"]}


def chosen(uid: str) -> dict[str, Sequence[str]]:
    values = {"profile": ["milling"], "machine": ["mill-1", "o'mill"], "source": ["scheduled"], "model": ["v1", "v2"]}
    return {v["name"]: values.get(v["name"], "") for v in _DASHBOARDS[uid]["templating"]["list"]}


@pytest.mark.parametrize(("where", "target", "uid"), ALL, ids=[where for where, _, _ in ALL])
def test_it_runs_for_all_and_for_some(looked: Looked, where: str, target: Mapping[str, Any], uid: str) -> None:
    for values in (everything(uid), chosen(uid)):
        for interval in ("30s", "1h"):
            looked.rows(expand(target["rawSql"], looked.since, looked.until, values, interval))


@pytest.mark.parametrize(("where", "target", "uid"), ALL, ids=[where for where, _, _ in ALL])
def test_it_shows_something_in_the_form_that_grafana_wants(
    hour: Looked, where: str, target: Mapping[str, Any], uid: str
) -> None:
    names, rows = hour.rows(expand(target["rawSql"], hour.since, hour.until, everything(uid)))
    assert len(set(names)) == len(names)
    if target["format"] == "time_series":
        demand_series(names, rows)
    assert any(value is not None for row in rows for value in row), "nothing to see"


def demand_series(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A time, then perhaps the name of the curve, then figures; the times ascend."""
    assert names[0] == "time"
    words = [name for name in names[1:] if name == "metric"]
    assert words in ([], ["metric"])
    for row in rows:
        assert isinstance(row[0], (int, float, Decimal, datetime))
        for name, value in zip(names[1:], row[1:], strict=True):
            assert isinstance(value, str if name == "metric" else (int, float, Decimal, type(None))), (name, value)
    moments = [row[0] for row in rows]
    assert moments == sorted(moments)


def test_macros_are_expanded_as_the_data_source_does(hour: Looked) -> None:
    at, until = hour.since, hour.until
    moment = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert expand("$__timeFrom()", at, until, {}) == f"'{moment}'"
    assert expand("$__timeFilter(a.b)", at, until, {}).startswith(f"a.b BETWEEN '{moment}' AND '")
    assert expand("$__timeGroup(a, '5m') x", at, until, {}) == "floor(extract(epoch from a)/300)*300 x"
    assert expand("$__timeGroup(a, 1h), x", at, until, {}) == 'floor(extract(epoch from a)/3600)*3600 AS "time", x'
    assert expand("$__timeGroupAlias(a, $__interval)", at, until, {}, "10s").endswith('/10)*10 AS "time"')
    assert expand("a IN ($b) AND c IN (${d})", at, until, {"b": ["x", "y'"], "d": "SELECT 1"}) == (
        "a IN ('x','y''') AND c IN (SELECT 1)"
    )
    with pytest.raises(UnknownMacro):
        expand("$__timeThing(a)", at, until, {})
    with pytest.raises(KeyError):
        expand("$nobody", at, until, {})
