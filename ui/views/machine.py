"""One machine: how it stands, its history as a chart, its alarms and what became of them, and its address to scan."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui import chart, frame, links, outcome, states, words
from ui.session import Here
from ui.texts import t
from ui.views import alarms, overview

_EVERY_SECONDS = 15.0
_ROWS = (100, 500, 2000)
_MOST_ALARMS = 20


def show(here: Here) -> None:
    profile, name = (st.query_params.get(key, "") for key in ("profile", "machine"))
    if not name:
        _choose(here)
        return
    st.title(t("machine.title", machine=words.plain(name)), anchor=False)
    if _find(here, profile, name) is None:
        st.warning(t("machine.nobody", machine=words.plain(name), profile=words.plain(profile)), icon=":material/help:")
        _choose(here)
        return
    frame.live(lambda here: _state(here, profile, name), every=_EVERY_SECONDS)
    _history(here, profile, name)
    _past(here, profile, name)
    with st.expander(t("machine.tell"), icon=":material/edit_note:"):
        outcome.ask(here, f"machine_{profile}_{name}", outcome.OF_MACHINE, machine=name, profile=profile)
    _address(profile, name)


def _find(here: Here, profile: str, name: str) -> dict[str, Any] | None:
    return next(iter(here.api.machines(profile or None, name)), None)


def _choose(here: Here) -> None:
    """All machines, for who came without a name."""
    if not st.query_params.get("machine"):
        st.title(t("pages.machine"), anchor=False)
    found = here.api.machines()
    if not found:
        st.info(t("overview.empty"), icon=":material/info:")
        return
    st.markdown(t("machine.choose"))
    with st.container(border=True, gap="xsmall"):
        for machine in found:
            overview.line(machine, words.now(), {p["name"]: p["title"] for p in here.profiles()})


def _state(here: Here, profile: str, name: str) -> None:
    frame.ages(here)
    machine = _find(here, profile, name)
    if machine is None:
        return
    now = words.now()
    if states.needs_somebody(machine, now):
        overview.card(here, machine, now, {}, here_already=True)
    else:
        with st.container(border=True):
            overview.line(machine, now, {}, here_already=True)
    _reading(here, machine)


def _reading(here: Here, machine: dict[str, Any]) -> None:
    """The last reading in the words of the profile."""
    row = machine["last_row"]
    if not row:
        return
    columns = here.profile(machine["profile"])["columns"]
    shown = [(column, row[column["name"]]) for column in columns if column["name"] in row]
    said = [f"{words.plain(column['title'])} **{words.plain(words.amount(value, column))}**" for column, value in shown]
    at = words.when(machine["last_read_at"], here.zone, seconds=True)
    st.markdown(f"{t('machine.reading', at=at)} {' · '.join(said)}")
    with st.container(horizontal=True, gap="small"):
        if machine["last_id"] is not None:
            links.link("prediction", t("machine.why"), icon=":material/query_stats:", id=machine["last_id"])
        if here.may("operator"):
            links.link(
                "check_setting", t("machine.check"), icon=":material/tune:", profile=machine["profile"],
                machine=machine["name"],
            )  # fmt: skip
        links.link(
            "predictions", t("machine.all"), icon=":material/history:", span="all", profile=machine["profile"],
            machine=machine["name"],
        )  # fmt: skip


def _history(here: Here, profile: str, name: str) -> None:
    st.subheader(t("machine.history"), anchor=False)
    rows = st.segmented_control(
        t("machine.rows"),
        _ROWS,
        default=_ROWS[0],
        format_func=lambda rows: f"{rows:,}",
        key="machine_rows",
        required=True,
    )
    with frame.guarded():
        found = _read(here, profile, name, int(rows or _ROWS[0]))
        if not found:
            st.caption(t("machine.no_history"))
            return
        chart.history(here, found, _threshold(here, profile))


def _read(here: Here, profile: str, name: str, most: int) -> list[dict[str, Any]]:
    """The newest rows that machines sent: a question about the machine is not its history, however many there are."""
    found = [
        row
        for source in ("scheduled", "api")
        for row in here.api.predictions(profile=profile, machine=name, source=source, at_most=most)
    ]
    return sorted(found, key=lambda row: int(row["id"]), reverse=True)[:most]


def _threshold(here: Here, profile: str) -> float | None:
    known = next((one for one in here.profiles() if one["name"] == profile), None)
    return float(known["threshold"]) if known else None


def _past(here: Here, profile: str, name: str) -> None:
    st.subheader(t("machine.alarms"), anchor=False)
    with frame.guarded():
        alarms.record(here, profile=profile, machine=name)
        found = here.api.alarms("closed", profile=profile, machine=name, at_most=_MOST_ALARMS)
        with st.container(gap="xsmall"):
            for one in found:
                alarms.closed_line(here, one, t("machine.alarm", id=one["id"]))
        told = list(here.api.outcomes(profile=profile, machine=name, at_most=_MOST_ALARMS))
        if told:
            st.markdown(t("machine.told"))
            outcome.listed(here, told)


def _address(profile: str, name: str) -> None:
    """To stick on the machine: who scans it stands before this page, signed in or after signing in."""
    with st.expander(t("machine.qr"), icon=":material/qr_code_2:"):
        address = links.deep("machine", profile=profile, machine=name)
        st.html(f'<div class="qr">{links.qr(address)}</div>')
        st.code(address, language=None, wrap_lines=True)
        if "//127.0.0.1" in address or "//localhost" in address:
            st.caption(t("machine.qr_local"))
