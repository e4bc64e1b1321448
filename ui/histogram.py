"""How many rows have which probability: failing and passing ones side by side, for there are many more of the one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from ui import words
from ui.chart import FAILING, PASSING, RULE
from ui.texts import t

_HEIGHT = 200


def draw(bins: Sequence[dict[str, Any]], threshold: float) -> None:
    """``bins`` as the API counts them: ``from``, ``to``, ``passing``, ``failing``."""
    left, right = st.columns(2, gap="medium")
    with left:
        _one(bins, "failing", FAILING, threshold)
    with right:
        _one(bins, "passing", PASSING, threshold)


def _one(bins: Sequence[dict[str, Any]], kind: Literal["failing", "passing"], colour: str, threshold: float) -> None:
    count = sum(one[kind] for one in bins)
    st.markdown(t(f"histogram.{kind}", n=count))
    if not count:
        return
    values = [
        {
            "from": one["from"],
            "to": one["to"],
            "rows": one[kind],
            "span": t("histogram.span", least=f"{one['from'] * 100:.0f}", most=words.probability(one["to"])),
        }
        for one in bins
        if one[kind]
    ]
    x = {
        "field": "from", "type": "quantitative", "bin": {"binned": True, "step": bins[0]["to"] - bins[0]["from"]},
        "scale": {"domain": [0, 1]}, "axis": {"format": "%"}, "title": t("chart.probability"),
    }  # fmt: skip
    y = {
        "field": "rows",
        "type": "quantitative",
        "title": t("histogram.rows"),
        "axis": {"tickMinStep": 1, "format": "~s"},
    }
    tooltip = [
        {"field": "span", "type": "nominal", "title": t("chart.probability")},
        {"field": "rows", "type": "quantitative", "format": ",", "title": t("histogram.rows")},
    ]
    layers = [
        {"mark": {"type": "bar", "color": colour}, "encoding": {"x": x, "x2": {"field": "to"}, "y": y, "tooltip": tooltip}},
        {
            "data": {"values": [{"at": threshold}]},
            "mark": {"type": "rule", "strokeDash": [6, 4], "color": RULE},
            "encoding": {"x": {"field": "at", "type": "quantitative"}},
        },
    ]  # fmt: skip
    st.vega_lite_chart({"data": {"values": values}, "height": _HEIGHT, "layer": layers}, width="stretch")
