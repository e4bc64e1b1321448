"""Bars: told by length and words, and never by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ui.chart import FAILING, PASSING, RULE
from ui.texts import t


def signed(parts: Sequence[tuple[str, float]]) -> None:
    """What adds to a probability and what takes from it, the greatest on top."""
    up, down = t("bars.up"), t("bars.down")
    values = [
        # The place goes first, so that two bars of one name stay two.
        {"at": at, "name": name, "points": round(share * 100, 2), "kind": up if share > 0 else down}
        for at, (name, share) in enumerate(parts)
    ]
    y = {
        "field": "name", "type": "nominal", "sort": {"field": "at"}, "title": None,
        "axis": {"labelLimit": 190, "ticks": False, "domain": False},
    }  # fmt: skip
    x = {"field": "points", "type": "quantitative", "title": t("bars.points"), "axis": {"tickMinStep": 1}}
    colour = {
        "field": "kind", "type": "nominal", "scale": {"domain": [up, down], "range": [FAILING, PASSING]},
        # One above the other: beside the names of the bars there is no room for two on a phone.
        "legend": {"title": None, "orient": "top", "columns": 1},
    }  # fmt: skip
    tooltip = [
        {"field": "name", "type": "nominal", "title": t("bars.feature")},
        {"field": "points", "type": "quantitative", "format": "+.1f", "title": t("bars.points")},
    ]
    layers = [
        {"mark": {"type": "bar"}, "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}},
        {"data": {"values": [{"zero": 0}]}, "mark": {"type": "rule", "color": RULE},
         "encoding": {"x": {"field": "zero", "type": "quantitative"}}},
    ]  # fmt: skip
    st.vega_lite_chart(
        {"data": {"values": values}, "height": {"step": 22}, "layer": layers, "autosize": {"type": "fit-x"}},
        width="stretch",
    )


def stacked(rows: Sequence[dict[str, Any]], x: dict[str, Any]) -> None:
    """Passing and failing rows on top of each other; ``rows`` have passing, failing and what ``x`` names."""
    passing, failing = t("chart.passing"), t("chart.failing")
    values = [
        {**{name: value for name, value in row.items() if name not in ("passing", "failing")}, "kind": said,
         "rows": row[kind], "order": order}
        for row in rows
        for order, (kind, said) in enumerate((("passing", passing), ("failing", failing)))
        if row[kind]
    ]  # fmt: skip
    spec = {
        "data": {"values": values},
        "height": 260,
        "mark": {"type": "bar"},
        "encoding": {
            "x": x,
            "y": {"field": "rows", "type": "quantitative", "title": t("bars.rows"), "axis": {"tickMinStep": 1}},
            "order": {"field": "order", "type": "quantitative"},
            "color": {
                "field": "kind", "type": "nominal",
                "scale": {"domain": [passing, failing], "range": [PASSING, FAILING]},
                "legend": {"title": None, "orient": "top"},
            },
            "tooltip": [
                {"field": "title", "type": "nominal", "title": x["title"]},
                {"field": "kind", "type": "nominal", "title": t("chart.verdict")},
                {"field": "rows", "type": "quantitative", "format": ",", "title": t("bars.rows")},
            ],
        },
    }  # fmt: skip
    st.vega_lite_chart(spec, width="stretch")
