"""The plant at a glance: machines by risk with reason and action, then the day. It renews itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from ui import alarm, frame, links, states, words
from ui.session import Here
from ui.texts import t

_EVERY_SECONDS = 10.0


def show(here: Here) -> None:
    st.title(t("pages.overview"), anchor=False)
    frame.live(_body, every=_EVERY_SECONDS)


def _body(here: Here) -> None:
    frame.ages(here)
    now = words.now()
    machines = states.by_risk(here.api.machines(), now)
    titles = {profile["name"]: profile["title"] for profile in here.profiles()}
    _told(machines, now)
    pressing = [machine for machine in machines if states.needs_somebody(machine, now)]
    others = [machine for machine in machines if not states.needs_somebody(machine, now)]
    several = len({machine["profile"] for machine in machines}) > 1
    for machine in pressing:
        card(here, machine, now, titles if several else {})
    if others:
        st.subheader(t("overview.others"), anchor=False)
        with st.container(border=True, gap="xsmall"):
            for machine in others:
                line(machine, now, titles if several else {})
    _day(here)


def _told(machines: list[dict[str, Any]], now: datetime) -> None:
    """One sentence: how many machines need somebody."""
    if not machines:
        st.info(t("overview.empty"), icon=":material/info:")
        return
    found = [states.of(machine, now) for machine in machines]
    alarms, failing = sum(s == "open" for s in found), sum(s == "failing" for s in found)
    stale = sum(s in ("stale", "silent") for s in found)
    said = [t("overview.alarms", n=alarms) if alarms else t("overview.no_alarm")]
    said += [t("overview.failing", n=failing)] if failing else []
    said += [t("overview.stale", n=stale)] if stale else []
    st.markdown(" ".join(said))


def card(
    here: Here, machine: dict[str, Any], now: datetime, titles: dict[str, str], *, here_already: bool = False
) -> None:
    """A machine that needs somebody: state, reason, action. ``titles`` are of profiles, where they are worth saying."""
    one = machine["alarm"]
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if not here_already:
                _name(machine)
            st.markdown(_badges(machine, now), width="content")
            if machine["profile"] in titles:
                st.caption(words.plain(titles[machine["profile"]]), width="content")
        reason = machine["reason"]
        if reason is not None:
            st.markdown(f"**{words.plain(reason['text'])}**")
            if reason["action"]:
                st.markdown(t("overview.action", action=words.plain(reason["action"])))
        st.caption(_facts(machine, now))
        if one is not None:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.caption(alarm.facts(here, one), width="content")
                links.link("alarms", t("overview.answer"), icon=":material/arrow_forward:", alarm=one["id"])


def line(machine: dict[str, Any], now: datetime, titles: dict[str, str], *, here_already: bool = False) -> None:
    """A machine that needs nobody."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if not here_already:
            _name(machine)
        st.markdown(_badges(machine, now), width="content")
        facts = _facts(machine, now)
        title = titles.get(machine["profile"])
        st.caption(f"{facts} · {words.plain(title)}" if title else facts, width="content")


def _name(machine: dict[str, Any]) -> None:
    links.link("machine", words.plain(machine["name"]), profile=machine["profile"], machine=machine["name"])


def _badges(machine: dict[str, Any], now: datetime) -> str:
    """State first; the verdict in the profile's words beside it, unless the state says just that."""
    state = states.of(machine, now)
    if state in ("failing", "passing"):
        return words.badge(state, machine["verdict"])
    said = words.badge(state)
    if machine["verdict"] is None:
        return said
    if states.is_stale(machine, now):
        return f"{said} {t('overview.last_said', verdict=words.plain(machine['verdict']))}"
    return f"{said} {words.badge('failing' if machine['last_failing'] else 'passing', machine['verdict'])}"


def _facts(machine: dict[str, Any], now: datetime) -> str:
    """Probability beside its threshold, how many of the last rows fail, and how old the reading is."""
    if machine["last_read_at"] is None:
        return t("overview.never_read")
    said = [t("overview.probability", p=words.probability(machine["last_probability"]))]
    if machine["threshold"] is not None:
        said.append(t("overview.threshold", p=words.threshold(machine["threshold"])))
    if machine["verdicts"] and any(machine["verdicts"]):
        said.append(t("overview.rows", failing=sum(machine["verdicts"]), n=len(machine["verdicts"])))
    said.append(t("overview.read", age=words.age(machine["last_read_at"], now)))
    return " · ".join(said)


def _day(here: Here) -> None:
    day = here.api.day()
    st.subheader(t("overview.day", at=words.when(day["from"], here.zone)), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        for name in ("rows_in", "rows_good", "rows_bad", "rows_predicted", "rows_failing", "files", "alarms"):
            st.metric(t(f"overview.figure.{name}"), words.number(day[name]), width="content")
    said = [
        t("overview.accounted") if day["rows_in"] == day["rows_good"] + day["rows_bad"] else t("overview.unaccounted")
    ]
    waiting = day["rows_good"] - day["rows_predicted"]
    if waiting:
        said.append(t("overview.waiting", n=waiting))
    if day["quarantined"]:
        said.append(t("overview.quarantined", n=day["quarantined"]))
    if day["critical"]:
        said.append(t("overview.critical", n=day["critical"]))
    st.caption(" ".join(said))
