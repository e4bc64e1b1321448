"""One alarm: what it says, and what people say to it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui import frame, links, outcome, standing, words
from ui.session import Here
from ui.texts import t

# Minutes; a snooze beyond a day is a machine that nobody looks at.
_PAUSES = (30, 120, 480, 1440)


def show(here: Here, chosen: str) -> None:
    """The alarm of that number, as an address gives it."""
    if not chosen.isdecimal() or not 0 < int(chosen) < 2**63 - 1:
        st.warning(t("alarm.no_number", number=words.plain(chosen[:40])), icon=":material/help:")
        return
    one = here.api.alarm(int(chosen))
    told = [o for o in here.api.outcomes(profile=one["profile"], machine=one["machine"], at_most=200)
            if o["alarm_id"] == one["id"]]  # fmt: skip
    with st.container(border=True, key="alarm"):
        _say(here, one)
        outcome.listed(here, told)
        _ask(here, one)
        links.link("alarms", t("alarm.back"), icon=":material/close:")


def facts(here: Here, one: dict[str, Any]) -> str:
    """Since when, how many rows, how likely at most; who looks after it, and until when it is quiet."""
    opened = words.when(one["opened_at"], here.zone)
    said = [t("alarm.since", at=opened, age=words.age(one["opened_at"]))]
    said.append(t("alarm.rows", n=one["rows"], age=words.age(one["last_seen_at"])))
    said.append(t("alarm.highest", p=words.probability(one["probability"])))
    if one["acknowledged_by"]:
        at = words.when(one["acknowledged_at"], here.zone)
        said.append(t("alarm.by", name=words.plain(one["acknowledged_by"]), at=at))
    if one["note"]:
        said.append(t("alarm.said", note=words.plain(one["note"])))
    if one["state"] == "snoozed":
        said.append(t("alarm.snoozed", at=words.when(one["snoozed_until"], here.zone)))
    return " · ".join(said)


def became(one: dict[str, Any]) -> str:
    """What came of a closed one."""
    if one["outcome"]:
        return t(f"outcome.kinds.{one['outcome']}")
    return t("alarm.calmed") if one["close_reason"] == "calm" else t("alarm.closed")


def _say(here: Here, one: dict[str, Any]) -> None:
    details = one["details"]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(t("alarm.title", machine=words.plain(one["machine"])), anchor=False, width="content")
        st.markdown(words.badge(one["state"]), width="content")
        if one["state"] == "closed":
            st.markdown(f"**{became(one)}**", width="content")
    st.markdown(f"**{words.plain(details.get('text', ''))}**")
    if details.get("action"):
        st.markdown(t("overview.action", action=words.plain(details["action"])))
    st.caption(facts(here, one))
    with st.container(horizontal=True, gap="small"):
        links.link("machine", t("alarm.machine"), profile=one["profile"], machine=one["machine"])
        for name in ("first", "last"):
            prediction = one[f"{name}_prediction_id"]
            if prediction is not None:
                links.link("prediction", t(f"alarm.{name}"), id=prediction)


def _ask(here: Here, one: dict[str, Any]) -> None:
    key = f"alarm_{one['id']}"
    if not here.may("operator"):
        st.caption(t("alarm.may_not"))
        return
    if not standing.known(here, f"{key}_who"):
        return
    if one["state"] == "closed":
        with st.expander(t("alarm.correct"), expanded=one["outcome"] is None):
            outcome.ask(here, key, outcome.OF_ALARM, alarm_id=one["id"])
        return
    names = ("acknowledge", "snooze", "outcome")
    for tab, name in zip(st.tabs([t(f"alarm.tab.{name}") for name in names]), names, strict=True):
        with tab:
            if name == "outcome":
                outcome.ask(here, key, outcome.OF_ALARM, alarm_id=one["id"])
            elif name == "snooze":
                _snooze(here, one, key)
            else:
                _acknowledge(here, one, key)


def _acknowledge(here: Here, one: dict[str, Any], key: str) -> None:
    known = one["acknowledged_by"]
    with st.form(f"{key}_ack", border=False):
        note = st.text_input(t("alarm.note"), max_chars=500, key=f"{key}_note")
        label = t("alarm.add_note") if known else t("alarm.acknowledge", name=words.plain(here.name))
        pressed = st.form_submit_button(label, type="primary", icon=":material/engineering:")
    if pressed:
        with frame.guarded():
            here.api.ack(one["id"], note.strip())
            frame.done(t("alarm.acknowledged"))


def _snooze(here: Here, one: dict[str, Any], key: str) -> None:
    with st.form(f"{key}_snooze", border=False):
        minutes = st.radio(
            t("alarm.pause"),
            _PAUSES,
            format_func=lambda minutes: words.span(minutes * 60),
            horizontal=True,
            key=f"{key}_minutes",
        )
        pressed = st.form_submit_button(t("alarm.snooze"), icon=":material/snooze:")
    st.caption(t("alarm.pause_help"))
    if pressed:
        with frame.guarded():
            here.api.snooze(one["id"], int(minutes or _PAUSES[0]))
            frame.done(t("alarm.is_quiet"))
