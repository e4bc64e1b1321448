"""One prediction: the verdict and why, what the model saw, what became of it and of its like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from appliance.errors import ApplianceError, NotFound, NotReady
from ui import frame, links, outcome, past, why, words
from ui.session import Here
from ui.texts import t

_MOST_TOLD = 200


def show(here: Here) -> None:
    given = st.query_params.get("id", "")
    if not (given.isascii() and given.isdecimal() and 0 < int(given) < 2**63 - 1):
        frame.heading(here, t("pages.prediction"))
        st.info(t("prediction.choose"), icon=":material/info:")
        past.back()
        return
    try:
        one = here.api.prediction(int(given))
    except NotFound as error:
        frame.heading(here, t("pages.prediction"))
        frame.refused(error)
        past.back()
        return
    frame.heading(here, t("prediction.title", id=one["id"]), at=one["predicted_at"])
    said, trouble = _explained(here, one)
    with st.container(border=True):
        why.verdict({**one, "verdict": one.get("verdict", t(f"chart.{'failing' if one['failing'] else 'passing'}"))})
        if said is not None:
            why.seen(said)
            why.advice(said)
        _facts(here, one, said)
    if trouble is not None:
        frame.refused(trouble)
    _reasons(one, said)
    with frame.guarded():
        _features(one["features"], _titles(here, one["profile"]))
    if said is not None:
        why.cases(here, said)
    with frame.guarded():
        _became(here, one)


def _explained(here: Here, one: Mapping[str, Any]) -> tuple[dict[str, Any] | None, ApplianceError | None]:
    """Why; a prediction stays readable when its model is gone."""
    try:
        return here.api.explain(one["id"]), None
    except frame.AWAY:
        raise
    except ApplianceError as error:
        return None, error


def _facts(here: Here, one: Mapping[str, Any], said: Mapping[str, Any] | None) -> None:
    """Where it came from, and the ways to there."""
    times = {name: words.when(one[name], here.zone, seconds=True) for name in ("read_at", "predicted_at")}
    told = [t("prediction.times", **times, zone=here.zone.key), t(f"past.sources.{one['source']}")]
    told.append(t("prediction.model", version=words.plain(one["model_version"]), profile=words.plain(one["profile"])))
    told += [t(f"prediction.{name}") for name in ("late", "outside") if one[name]]
    st.caption(" · ".join(told))
    with st.container(horizontal=True, gap="small"):
        if one["machine"] is not None:
            name = t("machine.title", machine=words.plain(one["machine"]))
            links.link("machine", name, icon=":material/precision_manufacturing:", profile=one["profile"],
                       machine=one["machine"])  # fmt: skip
        if one["file_id"] is not None:
            row = t("prediction.row", row=words.number(one["row"]), file=one["file_id"])
            links.link("file", row, icon=":material/description:", id=one["file_id"])
        previous = said and said["previous"]
        if previous:
            at = words.when(previous["read_at"], here.zone, seconds=True)
            links.link("prediction", t("prediction.before", at=at), icon=":material/arrow_back:", id=previous["id"])
        past.back()


def _reasons(one: Mapping[str, Any], said: Mapping[str, Any] | None) -> None:
    if said is None:
        why.modes(one["modes"])
        return
    left, right = st.columns(2, gap="medium")
    with left:
        why.contributions(said)
    with right:
        why.modes(one["modes"])
        why.limits(said)


def _titles(here: Here, profile: str) -> dict[str, Mapping[str, str]]:
    """How categories are called, by column; nothing is known of a profile that is served no more."""
    try:
        return {column["name"]: column["category_titles"] for column in here.profile(profile)["columns"]}
    except (NotFound, NotReady):
        return {}


def _features(found: Sequence[Mapping[str, Any]], titles: Mapping[str, Mapping[str, str]]) -> None:
    """What the model saw, derived values among it."""
    st.subheader(t("prediction.features"), anchor=False)
    lines = [f"| {t('prediction.feature')} | {t('prediction.value')} |", "| --- | --- |"]
    lines += [
        f"| {words.plain(one['title'])} | {words.plain(_value(one, titles.get(one['name'], {})))} |" for one in found
    ]
    st.markdown("\n".join(lines))


def _value(one: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """A category as the word it was, for the model sees numbers alone."""
    value, known = one["value"], one.get("categories")
    if value is None:
        return t("prediction.missing")
    if known is not None and 0 <= value < len(known):
        return titles.get(known[int(value)], str(known[int(value)]))
    if "=" in one["name"]:
        return t("words.yes") if value else t("words.no")
    return words.amount(value, one)


def _became(here: Here, one: Mapping[str, Any]) -> None:
    """What people told of it, and room to tell."""
    st.subheader(t("prediction.became"), anchor=False)
    if one["machine"] is None:
        st.caption(t("prediction.nobody"))
        return
    about = {"profile": one["profile"], "machine": one["machine"]}
    for alarm in here.api.alarms("all", at_most=_MOST_TOLD, **about):
        if (alarm["first_prediction_id"] or 0) <= one["id"] <= (alarm["last_prediction_id"] or 0):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                links.link("alarms", t("machine.alarm", id=alarm["id"]), alarm=alarm["id"])
                st.markdown(words.badge(alarm["state"]), width="content")
                st.caption(t("prediction.of_alarm"), width="content")
    told = [
        known
        for known in here.api.outcomes(at_most=_MOST_TOLD, **about)
        if (known["predicted"] or {}).get("prediction_id") == one["id"]
    ]
    if told:
        outcome.listed(here, told)
    else:
        st.caption(t("prediction.untold"))
    with st.expander(t("prediction.tell"), icon=":material/edit_note:"):
        kinds = outcome.OF_ALARM if one["failing"] else outcome.OF_MACHINE
        outcome.ask(here, f"prediction_{one['id']}", kinds, prediction_id=one["id"])
