"""Charts, in plant time and told by shape as well as by colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui import words
from ui.session import Here
from ui.texts import t

# Blue and orange are told apart by all who see, on light and on dark.
PASSING, FAILING, RULE = "#3b7dd8", "#e07b00", "#8a8a8a"


def history(here: Here, rows: Sequence[dict[str, Any]], threshold: float | None) -> None:
    """Probabilities over the time of reading; failing rows are triangles, and the threshold is a line."""
    failing, passing = t("chart.failing"), t("chart.passing")
    values = [
        {
            # Without a zone: drawn as it stands, whatever the browser's own zone is.
            "at": f"{_at(here, row):%Y-%m-%dT%H:%M:%S}",
            "p": round(row["probability"], 4),
            "v": failing if row["failing"] else passing,
            "id": row["id"],
        }
        for row in rows
    ]
    count = sum(row["failing"] for row in rows)
    highest = max(row["probability"] for row in rows)
    said = t("chart.summary", n=len(rows), failing=count, p=words.probability(highest))
    since, until = _at(here, rows[-1]), _at(here, rows[0])
    st.caption(f"{said} {t('chart.span', since=words.when(since, here.zone), until=words.when(until, here.zone))}")
    clock = "%H:%M" if since.date() == until.date() else "%m-%d %H:%M"
    axis = {"format": clock, "labelOverlap": True}
    x = {"field": "at", "type": "temporal", "title": t("chart.time", zone=here.zone.key), "axis": axis}
    scale = {"domain": [0, 1]}
    y = {"field": "p", "type": "quantitative", "scale": scale, "title": t("chart.probability"), "axis": {"format": "%"}}
    kinds = [passing, failing]
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 0.85},
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": "v", "type": "nominal", "scale": {"domain": kinds, "range": [PASSING, FAILING]},
                    "legend": {"title": None, "orient": "top"},
                },
                "shape": {
                    "field": "v", "type": "nominal", "scale": {"domain": kinds, "range": ["circle", "triangle-up"]},
                    "legend": {"title": None, "orient": "top"},
                },
                "tooltip": [
                    {"field": "at", "type": "temporal", "format": "%Y-%m-%d %H:%M:%S", "title": t("chart.read")},
                    {"field": "p", "type": "quantitative", "format": ".1%", "title": t("chart.probability")},
                    {"field": "v", "type": "nominal", "title": t("chart.verdict")},
                    {"field": "id", "type": "nominal", "title": t("chart.id")},
                ],
            },
        }
    ]  # fmt: skip
    if threshold is not None:
        layers.append(_threshold(threshold))
    st.vega_lite_chart({"data": {"values": values}, "height": 240, "layer": layers}, width="stretch")


def _at(here: Here, row: dict[str, Any]) -> Any:
    at = words.moment(row["read_at"])
    assert at is not None
    return at.astimezone(here.zone)


def curve(curve: Mapping[str, Any], value: Any, threshold: float | None, column: Mapping[str, Any]) -> None:
    """What becomes of a row over the range of one reading; where it stands now is a point, and the threshold a line."""
    failing, passing = t("chart.failing"), t("chart.passing")
    numbers = column["type"] in ("number", "integer")
    values = [
        {"x": x if numbers else words.amount(x, column), "p": round(p, 4), "v": failing if fails else passing}
        for x, p, fails in zip(curve["values"], curve["probabilities"], curve["failing"], strict=True)
    ]
    title = f"{curve['title']} ({curve['unit']})" if curve["unit"] else curve["title"]
    kind = "quantitative" if numbers else "nominal"
    x = {"field": "x", "type": kind, "title": title, "scale": {"zero": False} if numbers else {}}
    y = {
        "field": "p", "type": "quantitative", "scale": {"domain": [0, 1]}, "title": t("chart.probability"),
        "axis": {"format": "%"},
    }  # fmt: skip
    kinds = [passing, failing]
    points = {
        "mark": {"type": "point", "filled": True, "size": 26},
        "encoding": {
            "x": x,
            "y": y,
            "color": {"field": "v", "type": "nominal", "scale": {"domain": kinds, "range": [PASSING, FAILING]},
                      "legend": {"title": None, "orient": "top"}},
            "shape": {"field": "v", "type": "nominal", "scale": {"domain": kinds, "range": ["circle", "triangle-up"]},
                      "legend": {"title": None, "orient": "top"}},
            "tooltip": [
                {"field": "x", "type": kind, "title": title},
                {"field": "p", "type": "quantitative", "format": ".1%", "title": t("chart.probability")},
                {"field": "v", "type": "nominal", "title": t("chart.verdict")},
            ],
        },
    }  # fmt: skip
    here = {"data": {"values": [{"x": value if numbers else words.amount(value, column)}]}}
    layers: list[dict[str, Any]] = [
        points,
        {**here, "mark": {"type": "rule", "color": RULE}, "encoding": {"x": {"field": "x", "type": kind}}},
    ]
    if numbers:
        layers.insert(0, {"mark": {"type": "line", "color": RULE, "strokeWidth": 1}, "encoding": {"x": x, "y": y}})
    if threshold is not None:
        layers.append(_threshold(threshold))
    st.caption(t("chart.curve", title=words.plain(curve["title"])))
    st.vega_lite_chart({"data": {"values": values}, "height": 260, "layer": layers}, width="stretch")


def _threshold(at: float) -> dict[str, Any]:
    return {
        "data": {"values": [{"y": at}]},
        "mark": {"type": "rule", "strokeDash": [6, 4], "color": RULE},
        "encoding": {"y": {"field": "y", "type": "quantitative", "scale": {"domain": [0, 1]}}},
    }
