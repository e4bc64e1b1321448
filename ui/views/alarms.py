"""Alarms: the one that is looked at, with what can be said to it; those that are not closed; those that were; the record.

The lists renew themselves. What a person types stands in the part above them, which does not.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui import alarm, frame, links, words
from ui.session import Here
from ui.texts import t

_EVERY_SECONDS = 10.0
_CLOSED_AT_FIRST = 20
_MORE = 50


def show(here: Here) -> None:
    st.title(t("pages.alarms"), anchor=False)
    frame.live(frame.ages, every=_EVERY_SECONDS)
    chosen = st.query_params.get("alarm", "")
    if chosen:
        with frame.guarded():
            alarm.show(here, chosen)
    frame.live(_current, every=_EVERY_SECONDS)
    _closed(here)


def _current(here: Here) -> None:
    found = here.api.alarms("current")
    if not found:
        st.markdown(t("alarms.none"))
    for state in ("open", "acknowledged", "snoozed"):
        of_state = [one for one in found if one["state"] == state]
        if of_state:
            st.subheader(t(f"alarms.section.{state}", n=len(of_state)), anchor=False)
            with st.container(border=True, gap="xsmall"):
                for one in of_state:
                    _line(here, one)


def _line(here: Here, one: dict[str, Any]) -> None:
    with st.container(gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            links.link("alarms", words.plain(one["machine"]), icon=":material/arrow_forward:", alarm=one["id"])
            st.markdown(words.badge(one["state"]), width="content")
            st.markdown(f"**{words.plain(one['details'].get('text', ''))}**", width="content")
        st.caption(alarm.facts(here, one))


def _closed(here: Here) -> None:
    st.subheader(t("alarms.section.closed"), anchor=False)
    with frame.guarded():
        record(here)
        most = st.session_state.setdefault("closed_alarms", _CLOSED_AT_FIRST)
        found = here.api.alarms("closed", at_most=most + 1)
        if not found:
            st.caption(t("alarms.none_closed"))
            return
        with st.container(border=True, gap="xsmall"):
            for one in found[:most]:
                closed_line(here, one)
        if len(found) > most and st.button(t("alarms.more"), key="more_closed"):
            st.session_state["closed_alarms"] = most + _MORE
            st.rerun()


def closed_line(here: Here, one: dict[str, Any], label: str = "") -> None:
    """A closed alarm, what it was, and the way to it; ``label`` is what the link says, the machine where it is empty."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        links.link("alarms", label or words.plain(one["machine"]), alarm=one["id"])
        st.markdown(f"**{alarm.became(one)}**", width="content")
        opened, closed = (words.when(one[name], here.zone) for name in ("opened_at", "closed_at"))
        text = words.plain(one["details"].get("text", ""))
        st.caption(t("alarms.closed_line", opened=opened, closed=closed, text=text), width="content")


def record(here: Here, **filters: Any) -> None:
    """How good the warnings were: ``9 alarms, 7 right, 1 missed, 1 open.``"""
    st.markdown(record_words(here.api.record(**filters)))


def record_words(found: dict[str, Any]) -> str:
    if not found["alarms"] and not found["missed"]:
        return t("alarms.record.none")
    said = [t("alarms.record.alarms", n=found["alarms"])]
    shown = [name for name in ("right", "false", "planned", "missed", "unanswered", "open") if found[name]]
    said += [t(f"alarms.record.{name}", n=found[name]) for name in shown]
    return f"**{', '.join(said)}.**"
