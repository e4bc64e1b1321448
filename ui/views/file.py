"""One file: what was in it, what was wrong, its report, its bad rows, and the mended ones that go back in."""

from __future__ import annotations

from typing import Any

import streamlit as st

from appliance.errors import NotFound, RowsRefused
from ui import frame, handed, issues, links, standing, words
from ui.marks import mark
from ui.session import Here
from ui.texts import t
from ui.views import quality


def show(here: Here) -> None:
    given = st.query_params.get("id", "")
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**63 - 1):
        frame.heading(here, t("pages.file"))
        st.info(t("file.choose"), icon=":material/info:")
        links.link("quality", t("pages.quality"), icon=":material/arrow_back:")
        return
    try:
        file = here.api.file(int(given))
    except NotFound as error:
        frame.heading(here, t("pages.file"))
        frame.refused(error)
        links.link("quality", t("pages.quality"), icon=":material/arrow_back:")
        return
    frame.heading(here, t("file.title", name=words.plain(file["name"])), at=file["arrived_at"])
    _summary(here, file)
    with frame.guarded():
        _lineage(here, file)
    if file["state"] != "quarantined":
        with frame.guarded():
            _issues(here, file)
    if file["has_bad"]:
        with frame.guarded():
            _mending(here, file)


def _summary(here: Here, file: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(mark("file", file["state"]), width="content")
        st.markdown(mark("criticality", file["criticality"]), width="content")
        origin = [words.plain(file["origin"])] if file["origin"] else []
        at = t("file.arrived", at=words.when(file["arrived_at"], here.zone, seconds=True))
        st.caption(" · ".join([*origin, words.plain(file["profile"]), at]), width="content")
    if file["state"] == "quarantined":
        st.error(f"{words.plain(file['sentence'] or '')} {t('file.quarantined')}", icon=":material/block:")
        return
    with st.container(horizontal=True, gap="medium"):
        for name in ("rows_in", "rows_good", "rows_bad", "rows_predicted", "rows_failing"):
            st.metric(t(f"file.figure.{name}"), words.number(file[name]), width="content")
    if file["rows_predicted"] < file["rows_good"]:
        st.caption(t("file.waiting", n=file["rows_good"] - file["rows_predicted"]))
    if file["rows_predicted"]:
        links.link("predictions", t("file.predictions"), icon=":material/history:", span="all", file=file["id"])


def _lineage(here: Here, file: dict[str, Any]) -> None:
    """Where its rows came from, and what came back of them."""
    back = here.api.corrections(file["id"]) if file["rows_bad"] else []
    if file["mended_from"] is None and not back:
        return
    st.subheader(t("file.lineage"), anchor=False)
    with st.container(border=True, gap="xsmall"):
        if file["mended_from"] is not None:
            links.link(
                "file", t("file.mended_from", id=file["mended_from"]), icon=":material/undo:", id=file["mended_from"]
            )
        for one in back:
            quality.line(here, one)


def _issues(here: Here, file: dict[str, Any]) -> None:
    st.subheader(t("file.issues"), anchor=False)
    found = here.api.issues(file["id"])
    if not found:
        st.caption(t("file.no_issues"))
    else:
        issues.listed(here, file["profile"], found)
    if file["has_report"]:
        report = f"{here.api_url}/files/{file['id']}/report"
        st.link_button(t("file.report"), report, icon=":material/description:")


def _mending(here: Here, file: dict[str, Any]) -> None:
    st.subheader(t("file.mend"), anchor=False)
    st.markdown(t("file.how"))
    st.download_button(
        t("file.download", n=file["rows_bad"]),
        lambda: here.api.bad_rows(file["id"]),
        file_name=f"file-{file['id']}-bad.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="bad_rows",
    )
    if not here.may("operator"):
        st.caption(t("file.may_not"))
        return
    if not standing.known(here, "file_who"):
        return
    mended = st.file_uploader(t("file.upload"), type=["csv"], max_upload_size=handed.most(), key=f"mended_{file['id']}")
    if mended is None:
        return
    if st.button(t("file.hand_in"), type="primary", icon=":material/upload:", key="hand_in"):
        _hand_in(here, file, mended.getvalue())


def _hand_in(here: Here, file: dict[str, Any], rows: bytes) -> None:
    """One that is refused stays chosen, with the reasons under it."""
    try:
        answer = here.api.correct(file["id"], rows)
    except RowsRefused as error:
        frame.refused(error)
        return
    good, bad = answer["rows"]["good"], answer["rows"]["bad"]
    said = t("file.taken", n=good)
    frame.done(f"{said} {t('file.still_bad', n=bad)}" if bad else said)
