"""A model's card: its figures beside those of the limits alone, and its text with the plots, out of the signed bundle."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import streamlit as st

from ui import words
from ui.session import Here
from ui.texts import t

Plot = Literal["precision_recall", "calibration", "importance"]
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([a-z_]+)\.png\)")
_PLOT_WIDTH = 520


def figures(here: Here, item: dict[str, Any]) -> str:
    """A version in one line: how good it is, from when it is, when it served."""
    known = item["card"]
    at = known["at_threshold"]
    said = [
        t("card.recall", p=_share(at["recall"])),
        t("card.precision", p=_share(at["precision"])),
        t("card.trained", at=words.when(known["created"], here.zone), rows=words.number(known["data"]["rows"])),
    ]
    if item["activated_at"]:
        said.append(t("card.activated", at=words.when(item["activated_at"], here.zone)))
    return " · ".join(said)


def show(here: Here, profile: str, item: dict[str, Any]) -> None:
    known = item["card"]
    with st.container(horizontal=True, gap="medium"):
        st.metric(t("card.figure.recall"), _share(known["at_threshold"]["recall"]), width="content")
        st.metric(t("card.figure.precision"), _share(known["at_threshold"]["precision"]), width="content")
        st.metric(t("card.figure.threshold"), words.threshold(known["threshold"]), width="content")
        st.metric(t("card.figure.ranking"), f"{known['cv']['average_precision']['mean']:.3f}", width="content")
        st.metric(t("card.figure.cost"), words.number(known["at_threshold"]["cost_per_1000_rows"], 0), width="content")
        if known["limits_alone"] is not None:
            cost = words.number(known["limits_alone"]["cost_per_1000_rows"], 0)
            st.metric(t("card.figure.limits_cost"), cost, width="content")
    _text(here, profile, item["version"])


def _text(here: Here, profile: str, version: str) -> None:
    """The card's own words, with each plot where it stands in them."""
    waiting: list[str] = []

    def flush() -> None:
        text = "\n".join(waiting).strip()
        if text:
            st.markdown(text.replace("$", r"\$"))
        waiting.clear()

    # Its first line is the title, which stands on this page already; its chapters go under ours.
    for line in here.api.model_card(version, profile).splitlines()[1:]:
        picture = _PICTURE.fullmatch(line.strip())
        if picture is not None and picture[2] in get_args(Plot):
            flush()
            # Within a container it never exceeds a phone.
            with st.container(width=_PLOT_WIDTH):
                st.image(_plot(here, profile, version, picture[2]), caption=picture[1], width="stretch")
        else:
            waiting.append(f"#{line}" if line.startswith("## ") else line)
    flush()


def _plot(here: Here, profile: str, version: str, plot: Any) -> bytes:
    """Asked for once a browser: a bundle never changes, and is looked through whole for each answer."""
    kept: dict[tuple[str, str, str], bytes] = st.session_state.setdefault("_plots", {})
    key = (profile, version, plot)
    if key not in kept:
        while len(kept) >= 9:
            kept.pop(next(iter(kept)))
        kept[key] = here.api.model_plot(version, plot, profile)
    return kept[key]


def _share(value: float | None) -> str:
    return words.NONE if value is None else f"{value:.1%}".replace("%", " %")
