"""Data quality: what rows break, by rule and column, and the files that came, with their counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import streamlit as st

from ui import frame, issues, links, words
from ui.marks import mark
from ui.session import Here
from ui.texts import t

_DAYS = (1, 7, 30)
_CRITICALITIES = ("high", "medium", "low")
_AT_FIRST = 25
_MORE = 100
_MOST_ISSUES = 20


def show(here: Here) -> None:
    frame.heading(here, t("pages.quality"))
    profile, criticality, days = _asked(here)
    since = words.now() - timedelta(days=days)
    several = len(here.profiles()) > 1 and profile is None
    with frame.guarded():
        _broken(here, profile, since.isoformat(), several)
    with frame.guarded():
        _files(here, profile, criticality, since.isoformat(), several)


def _asked(here: Here) -> tuple[str | None, str | None, int]:
    titles = {profile["name"]: profile["title"] for profile in here.profiles()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        days = st.segmented_control(
            t("quality.since"),
            _DAYS,
            default=7,
            format_func=lambda days: t("quality.days", n=days),
            required=True,
            key="quality_days",
        )
        profile = None
        if len(titles) > 1:
            profile = st.selectbox(
                t("quality.profile"),
                list(titles),
                index=None,
                format_func=lambda name: titles[name],
                placeholder=t("quality.all"),
                key="quality_profile",
            )
        criticality = st.selectbox(
            t("quality.criticality"),
            _CRITICALITIES,
            index=None,
            format_func=lambda name: t(f"mark.criticality.{name}"),
            placeholder=t("quality.all"),
            key="quality_criticality",
        )
    return profile, criticality, int(days or 7)


def _broken(here: Here, profile: str | None, since: str, several: bool) -> None:
    st.subheader(t("quality.broken"), anchor=False)
    found = here.api.issue_totals(profile=profile, from_=since, limit=_MOST_ISSUES)
    if not found:
        st.caption(t("quality.nothing_broken"))
        return
    with st.container(border=True, gap="xsmall"):
        for issue in found:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{issues.title(here, issue['profile'], issue)}**", width="content")
                counts = t("quality.in_files", rows=words.number(issue["rows"]), n=issue["files"])
                if several:
                    counts = f"{words.plain(issue['profile'])} · {counts}"
                st.caption(counts, width="content")
                links.link("file", t("quality.newest"), id=issue["newest_file_id"])


def _files(here: Here, profile: str | None, criticality: str | None, since: str, several: bool) -> None:
    st.subheader(t("quality.files"), anchor=False)
    most = st.session_state.setdefault("quality_most", _AT_FIRST)
    found = list(here.api.files(at_most=most + 1, profile=profile, criticality=criticality, from_=since))
    if not found:
        st.caption(t("quality.no_files"))
        return
    with st.container(border=True, gap="xsmall"):
        for file in found[:most]:
            line(here, file, several=several)
    if len(found) > most and st.button(t("quality.more"), key="quality_more"):
        st.session_state["quality_most"] = most + _MORE
        st.rerun()


def line(here: Here, file: dict[str, Any], *, several: bool = False) -> None:
    """A file in one line: name, how bad it is, how many rows are."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        links.link("file", words.plain(file["name"]), id=file["id"])
        quarantined = file["state"] == "quarantined"
        st.markdown(
            mark("file", file["state"]) if quarantined else mark("criticality", file["criticality"]), width="content"
        )
        st.caption(facts(here, file, several=several), width="content")


def facts(here: Here, file: dict[str, Any], *, several: bool = False) -> str:
    said = [words.plain(file["origin"])] if file["origin"] else []
    said += [words.plain(file["profile"])] if several else []
    if file["state"] == "quarantined":
        said.append(words.plain(file["sentence"] or ""))
    else:
        said.append(
            t("quality.counts", **{name: words.number(file[name]) for name in ("rows_in", "rows_good", "rows_bad")})
        )
    said.append(words.when(file["arrived_at"], here.zone))
    return " · ".join(said)
