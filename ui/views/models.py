"""Models: which one serves, how good each is, its card with plots, and the way to another one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui import card, frame, standing, words
from ui.marks import mark
from ui.session import Here
from ui.texts import t

_ASKED = "model_asked"


def show(here: Here) -> None:
    found = here.api.models()
    frame.heading(here, t("pages.models"))
    profiles = list(dict.fromkeys(item["profile"] for item in found))
    if not profiles:
        st.info(t("models.none"), icon=":material/info:")
        return
    profile = _profile(here, profiles)
    items = [item for item in found if item["profile"] == profile]
    _serving(items)
    if here.may("engineer"):
        _switching(here, profile, items)
    else:
        st.caption(t("models.may_not", own=here.who["role"]))
    st.subheader(t("models.versions"), anchor=False)
    with st.container(border=True, gap="small"):
        for item in items:
            _line(here, item)
    _card(here, profile, items)


def _profile(here: Here, profiles: list[str]) -> str:
    titles = {profile["name"]: profile["title"] for profile in here.profiles()}
    if len(profiles) == 1:
        return profiles[0]
    chosen: str = st.selectbox(
        t("models.profile"), profiles, format_func=lambda name: titles.get(name, name), key="models_profile"
    )
    return chosen


def state(item: dict[str, Any]) -> str:
    if item["problem"]:
        return "spoiled"
    if item["serving"]:
        return "serving"
    return "chosen" if item["active"] else "resting"


def _serving(items: list[dict[str, Any]]) -> None:
    serving = next((item for item in items if item["serving"]), None)
    if serving is None:
        st.warning(t("models.nobody"), icon=":material/warning:")
    elif not serving["active"]:
        chosen = next((item["version"] for item in items if item["active"]), "")
        st.warning(t("models.other", version=serving["version"], chosen=words.plain(chosen)), icon=":material/warning:")


def _line(here: Here, item: dict[str, Any]) -> None:
    with st.container(gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{words.plain(item['version'])}**", width="content")
            st.markdown(mark("model", state(item)), width="content")
        if item["problem"]:
            st.caption(words.plain(item["problem"]))
            return
        st.caption(card.figures(here, item))


def _switching(here: Here, profile: str, items: list[dict[str, Any]]) -> None:
    """A press asks, a second one does it; what is asked is said with its version."""
    asked = st.session_state.get(_ASKED)
    if asked is not None and asked[0] == profile:
        _confirm(here, profile, asked[1])
        return
    others = [item["version"] for item in items if not item["active"] and not item["problem"]]
    if not others:
        st.caption(t("models.only_one"))
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox(t("models.other_version"), others, key="models_version", width=320)
        if st.button(t("models.activate"), icon=":material/play_circle:", key="activate"):
            _ask(profile, version)
        if any(item["activated_at"] and not item["active"] for item in items) and st.button(
            t("models.rollback"), icon=":material/undo:", key="rollback"
        ):
            _ask(profile, "")


def _ask(profile: str, version: str) -> None:
    st.session_state[_ASKED] = (profile, version)
    st.rerun()


def _confirm(here: Here, profile: str, version: str) -> None:
    """``version`` is empty for the one before."""
    with st.container(border=True):
        what = t("models.sure_activate", version=words.plain(version)) if version else t("models.sure_rollback")
        st.markdown(f"**{what}**")
        st.caption(t("models.consequence"))
        if not standing.known(here, "models_who"):
            return
        with st.container(horizontal=True):
            yes = st.button(t("models.yes"), type="primary", icon=":material/check:", key="models_yes")
            no = st.button(t("models.no"), key="models_no")
    if no:
        del st.session_state[_ASKED]
        st.rerun()
    if not yes:
        return
    del st.session_state[_ASKED]
    with frame.guarded():
        done = here.api.activate(version, profile) if version else here.api.rollback(profile)
        frame.done(t("models.done", version=done["version"]))


def _card(here: Here, profile: str, items: list[dict[str, Any]]) -> None:
    sound = [item for item in items if not item["problem"]]
    if not sound:
        return
    st.subheader(t("models.card"), anchor=False)
    first = next((number for number, item in enumerate(sound) if item["serving"]), 0)
    versions = [item["version"] for item in sound]
    version = st.selectbox(t("models.card_of"), versions, index=first, key=f"models_card_{profile}", width=320)
    with frame.guarded():
        card.show(here, profile, next(item for item in sound if item["version"] == version))
