"""Check one setting: a form out of the profile, the verdict with its reasons, and what if one changed something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import streamlit as st

from ui import equipment, form, frame, links, tryout, why, words
from ui.session import Here
from ui.texts import t

_CHECKED, _ASKED = "setting_checked", "setting_asked"


def show(here: Here) -> None:
    frame.heading(here, t("pages.check_setting"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        profile = equipment.profile(here, "setting")
        if profile is None:
            return
        machine = equipment.machine(here, profile, "setting")
    key = f"setting_{profile['name']}_{machine}"
    _begin(here, profile, machine, key)
    with st.form(f"{key}_form", border=True):
        filled = form.draw(here, profile, key)
        pressed = st.form_submit_button(t("setting.check"), type="primary", icon=":material/check:")
        st.caption(t("setting.stores"))
    if pressed:
        _check(here, profile, machine, filled)
    known = st.session_state.get(_CHECKED)
    if known is not None and known["key"] == (profile["name"], machine):
        _answer(here, profile, machine, key, known)


def _begin(here: Here, profile: dict[str, Any], machine: str | None, key: str) -> None:
    """What stands in the form at first: what was checked before one looked elsewhere, the machine's last reading, else the
    examples of the profile."""
    known, kept = st.session_state.get(_CHECKED), f"{key}_origin"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        said = st.empty()
        anew = st.button(
            t("setting.anew"), icon=":material/restart_alt:", key=f"{key}_anew", help=t("setting.anew_help")
        )
    if not anew and not form.started(profile, key) and known is not None and known["key"] == (profile["name"], machine):
        form.start(profile, key, known["row"])
        st.session_state[kept] = ("checked", None)
    elif anew or not form.started(profile, key):
        found = here.api.machines(profile["name"], machine) if machine else []
        last = found[0] if found and found[0]["last_row"] else None
        form.start(profile, key, profile["example"]["rows"][0] if last is None else last["last_row"])
        st.session_state[kept] = ("example", None) if last is None else ("reading", last["last_read_at"])
        st.session_state.pop(_CHECKED, None)
    origin, at = st.session_state[kept]
    when = {"machine": words.plain(machine or ""), "at": words.when(at, here.zone, seconds=True), "age": words.age(at)}
    said.caption(t(f"setting.from_{origin}", **when))


def _check(here: Here, profile: dict[str, Any], machine: str | None, filled: form.Filled) -> None:
    """Predict and store it. What came before is taken away first: it must not be read as the answer to this."""
    st.session_state.pop(_CHECKED, None)
    row = equipment.named(profile, machine, filled.row)
    if row is None:
        st.warning(t("setting.no_machine"), icon=":material/help:")
        return
    if filled.missing:
        names = ", ".join(words.plain(title) for title in filled.missing)
        st.warning(t("setting.missing", n=len(filled.missing), names=names), icon=":material/help:")
        return
    # Asked again after no answer came, it is the same question, and stored once; a time that says now is that of then.
    asked = json.dumps([profile["name"], machine, {name: v for name, v in row.items() if name not in filled.now}])
    if st.session_state.get(_ASKED, ("",))[0] != asked:
        st.session_state[_ASKED] = (asked, str(uuid4()), row)
    _, once, row = st.session_state[_ASKED]
    with frame.guarded():
        answer = here.api.predict_rows(
            [row],
            profile=profile["name"],
            machine=machine if profile["takes_machine"] else None,
            idempotency_key=once,
        )
        del st.session_state[_ASKED]
        st.session_state[_CHECKED] = {"key": (profile["name"], machine), "row": row, "answer": answer}


def _answer(here: Here, profile: dict[str, Any], machine: str | None, key: str, known: dict[str, Any]) -> None:
    answer = known["answer"]
    one = answer["predictions"][0]
    with st.container(border=True):
        why.verdict({**one, "threshold": answer["threshold"]})
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            at = words.when(answer["predicted_at"], here.zone, seconds=True)
            st.caption(t("setting.stored", at=at, model=words.plain(answer["model_version"])), width="content")
            links.link("prediction", t("setting.prediction", id=one["id"]), icon=":material/query_stats:", id=one["id"])
        with frame.guarded():
            if "said" not in known:
                known["said"] = here.api.explain(one["id"])
            said = known["said"]
            why.seen(said)
            why.advice(said)
    if "said" in known:
        _reasons(here, profile, machine, key, known)


def _reasons(here: Here, profile: dict[str, Any], machine: str | None, key: str, known: Mapping[str, Any]) -> None:
    said, row = known["said"], known["row"]
    left, right = st.columns(2, gap="medium")
    with left:
        why.contributions(said)
    with right:
        why.modes(said["modes"])
        why.limits(said)

    def use(tried: Mapping[str, Any]) -> None:
        form.start(profile, key, tried)

    beside = machine if profile["takes_machine"] else None
    tryout.show(f"try_{said['prediction_id']}", profile, beside, row, said, use)
    why.cases(here, said)
