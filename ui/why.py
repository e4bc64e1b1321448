"""An explanation as a person reads it: verdict, what to do, what moved the probability, limits, cases. One for all pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ui import bars, links, words
from ui.session import Here
from ui.texts import t

_MOST_PARTS = 8
# A contribution below a tenth of a point moves nothing.
_LEAST = 0.001


def verdict(said: Mapping[str, Any]) -> None:
    """The verdict with its probability beside the threshold, the reason, and what to do."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(words.badge("failing" if said["failing"] else "passing", said["verdict"]), width="content")
        st.markdown(f"**{t('why.probability', p=words.probability(said['probability']))}**", width="content")
        if said["threshold"] is not None:
            st.caption(t("why.threshold", p=words.threshold(said["threshold"])), width="content")
    if reason := said.get("reason"):
        st.markdown(f"**{words.plain(reason['text'])}**")
        if reason["action"]:
            st.markdown(t("overview.action", action=words.plain(reason["action"])))


def seen(said: Mapping[str, Any]) -> None:
    """Whether the model has ever seen the like; loud where it has not."""
    text = words.plain(said["outside"]["text"])
    if said["outside"]["outside"]:
        st.warning(text, icon=":material/explore_off:")
    else:
        st.caption(text)


def advice(said: Mapping[str, Any]) -> None:
    """The smallest change that makes it safe, and others that would."""
    st.markdown(f":material/lightbulb: {words.plain(said['advice'])}")
    smallest = said["smallest"]
    others = [change for change in said["changes"] if change != smallest]
    if others:
        lines = []
        for change in others:
            text, p = words.plain(change["text"]), words.probability(change["probability"])
            said_of = (
                t("why.change", text=text, p=p) if change["settable"] else t("why.change_measured", text=text, p=p)
            )
            lines.append(f"- {said_of}")
        st.caption("\n".join([t("why.others"), *lines]))


def modes(found: Sequence[Mapping[str, Any]]) -> None:
    """How likely each way of failing is."""
    if not found:
        return
    st.subheader(t("why.modes"), anchor=False)
    ranked = sorted(found, key=lambda mode: -(mode["probability"] or 0.0))
    st.markdown("\n".join(f"- {words.plain(m['title'])}: **{words.probability(m['probability'])}**" for m in ranked))


def contributions(said: Mapping[str, Any]) -> None:
    """What moved the probability from where it begins: as bars, and in words for who sees none."""
    st.subheader(t("why.parts"), anchor=False)
    moved = [part for part in said["contributions"] if abs(part["contribution"]) >= _LEAST]
    shown, rest = moved[:_MOST_PARTS], said["contributions"][len(moved[:_MOST_PARTS]) :]
    st.caption(t("why.base", base=words.probability(said["base"]), p=words.probability(said["probability"])))
    if not shown:
        st.markdown(t("why.nothing"))
        return
    bars.signed([(f"{part['title']}: {part['text']}", part["contribution"]) for part in shown])
    lines = []
    for part in shown:
        line = t("why.part", title=words.plain(part["title"]), text=words.plain(part["text"]), points=_points(part))
        lines.append(f"- {line} {_mark(part)}".rstrip())
    if rest:
        left = sum(part["contribution"] for part in rest)
        lines.append(f"- {t('why.rest', n=len(rest), points=points(left))}")
    st.markdown("\n".join(lines))
    if said["held"]:
        st.caption(t("why.held", names=", ".join(words.plain(one["title"]) for one in said["held"])))


def limits(said: Mapping[str, Any]) -> None:
    """The model beside the engineering limits alone, and each limit in words."""
    st.subheader(t("why.limits"), anchor=False)
    st.markdown(f"**{words.plain(said['compared']['text'])}**")
    lines = []
    for limit in said["limits"]:
        kind = ("advised" if limit["advisory"] else "broken") if limit["broken"] else "kept"
        colour, icon = {"advised": ("orange", "info"), "broken": ("orange", "warning"), "kept": ("green", "check")}[
            kind
        ]
        sign = f":{colour}-badge[:material/{icon}: {t(f'why.limit.{kind}')}]"
        lines.append(f"- {sign} {words.plain(limit['title'])}: {words.plain(limit['text'])}")
    if lines:
        st.markdown("\n".join(lines))


def cases(here: Here, said: Mapping[str, Any]) -> None:
    """The nearest past cases, and what became of them."""
    st.subheader(t("why.cases"), anchor=False)
    st.markdown(words.plain(said["cases"]["text"]))
    if said["cases"]["nearest"]:
        st.caption(t("why.distances"))
    for case in said["cases"]["nearest"]:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            machine = words.plain(case["machine"] or t("why.no_machine"))
            at = words.when(case["at"], here.zone)
            text = t("why.case", machine=machine, at=at, became=t(f"why.became.{case['became']}"))
            if case["prediction_id"] is not None:
                links.link("prediction", text, id=case["prediction_id"])
            else:
                st.markdown(text, width="content")
            st.caption(t("why.distance", distance=f"{case['distance']:.2f}"), width="content")


def points(share: float) -> str:
    """A share of probability as points with their sign: ``+42 points``."""
    number = share * 100
    return t("why.points", points=f"{number:+.0f}" if abs(number) >= 10 else f"{number:+.1f}")


def _points(part: Mapping[str, Any]) -> str:
    return points(part["contribution"])


def _mark(part: Mapping[str, Any]) -> str:
    if not part.get("outside"):
        return ""
    low, high = (words.rough(value) for value in part["seen"])
    return f":orange-badge[:material/explore_off: {t('why.outside', low=low, high=high)}]"
