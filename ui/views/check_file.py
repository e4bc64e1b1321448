"""Check a file: first what is bad in it, row by row; then its good rows predicted, as figures, table and download.

The address names the check, so that a page that is opened again goes on where it was.
"""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from appliance.errors import NotFound
from ui import checked, equipment, frame, handed, links, standing, words
from ui.session import Here
from ui.texts import t

_ID = re.compile(r"[0-9a-f]{1,64}")


def show(here: Here) -> None:
    given = st.query_params.get("check", "")
    check = _find(here, given) if given else None
    if check is not None:
        _checked(here, check)
        return
    frame.heading(here, t("pages.check_file"))
    if given:
        st.warning(t("upload.gone"), icon=":material/help:")
    st.markdown(t("upload.how"))
    _hand_in(here)
    with frame.guarded():
        _lately(here)


def _find(here: Here, given: str) -> dict[str, Any] | None:
    if not _ID.fullmatch(given):
        return None
    try:
        return here.api.file_check(given)
    except NotFound:
        return None


def _hand_in(here: Here) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        profile = equipment.profile(here, "upload")
        if profile is None:
            return
        machine = equipment.machine(here, profile, "upload", guess=False) if profile["takes_machine"] else None
    if not standing.known(here, "upload_who"):
        return
    file = handed.choose("upload")
    if file is None:
        return
    if st.button(t("upload.look"), type="primary", icon=":material/search:", key="upload_look"):
        with frame.guarded():
            st.query_params["check"] = handed.check(here, file, "upload", profile=profile["name"], machine=machine)
            st.rerun()


def _lately(here: Here) -> None:
    """What this person handed in and what is still kept: a way back to it."""
    found = here.api.file_checks()
    if not found:
        return
    st.subheader(t("upload.lately"), anchor=False)
    with st.container(border=True, gap="xsmall"):
        for one in found:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                links.link("check_file", words.plain(one["name"]), check=one["id"])
                said = [checked.counts(one), t("upload.at", at=words.when(one["created_at"], here.zone))]
                if one["rows"]["good"]:
                    said.insert(1, t("upload.so_far", n=one["predicted"]["rows"]))
                st.caption(" · ".join(said), width="content")


def _checked(here: Here, check: dict[str, Any]) -> None:
    st.title(t("upload.title", name=words.plain(check["name"])), anchor=False)
    shown = words.when(words.now(), here.zone, seconds=True)
    st.caption(t("upload.age", age=words.age(check["created_at"]), at=shown))
    checked.summary(here, check)
    checked.bad(here, check)
    checked.predict(here, check)
    if check["predicted"]["rows"]:
        with frame.guarded():
            checked.result(here, check)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        links.link("check_file", t("upload.other"), icon=":material/upload_file:")
        if st.button(t("upload.forget"), icon=":material/delete:", key="upload_forget", help=t("upload.forget_help")):
            with frame.guarded():
                here.api.forget_file_check(check["id"])
                del st.query_params["check"]
                frame.done(t("upload.forgotten"))
