"""Health: what is wrong with the box and the way out, then how its parts are. It renews itself."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui import frame, words
from ui.marks import mark
from ui.session import Here
from ui.texts import t

_EVERY_SECONDS = 10.0
_GIB = 1 << 30


def show(here: Here) -> None:
    st.title(t("pages.health"), anchor=False)
    frame.live(_body, every=_EVERY_SECONDS)


def _body(here: Here) -> None:
    # The database may be what is wrong: everything else is told all the same.
    with frame.guarded(waits=False):
        frame.ages(here)
    with frame.guarded(waits=False):
        _faults(here)
    with frame.guarded(waits=False):
        seen = here.api.status()
        _waiting(seen)
        _schedule(here, seen)
        _services(seen)
        _box(seen)


def _faults(here: Here) -> None:
    found = here.api.faults()
    at = words.when(words.now(), here.zone, seconds=True)
    if not found:
        st.markdown(f"{mark('fault', 'none')} {t('health.well', at=at)}")
        return
    for fault in sorted(found, key=lambda fault: fault["severity"] != "fault"):
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"{mark('fault', fault['severity'])} **{words.plain(fault['sentence'])}**")
            if fault["way_out"]:
                st.markdown(t("health.way_out", way=words.plain(fault["way_out"])))


def _waiting(seen: dict[str, Any]) -> None:
    if seen["database"]:
        return
    waiting = seen["backlog"]
    with st.container(horizontal=True, gap="medium"):
        st.metric(t("health.figure.file"), _ago(seen["ages"].get("file")), width="content")
        st.metric(t("health.figure.prediction"), _ago(seen["ages"].get("prediction")), width="content")
        st.metric(t("health.figure.rows_waiting"), words.number(waiting.get("rows_waiting", 0)), width="content")
        st.metric(t("health.figure.parts_failed"), words.number(waiting.get("parts_failed", 0)), width="content")
        st.metric(t("health.figure.disk"), _gib(seen["disk_free_bytes"]), width="content")


def _schedule(here: Here, seen: dict[str, Any]) -> None:
    if not seen["schedule"]:
        return
    st.subheader(t("health.schedule"), anchor=False)
    with st.container(border=True, gap="xsmall"):
        for run in seen["schedule"]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{_kind(run['kind'])}**", width="content")
                st.markdown(mark("run", run["outcome"] or "under_way"), width="content")
                said = [t("health.began", age=_ago(run["age"]), at=words.when(run["started_at"], here.zone))]
                said += [words.plain(run["why"])] if run["why"] else []
                if run["outcome"] == "failed":
                    said.append(t("health.worked", age=_ago(run["worked_ago"])))
                st.caption(" · ".join(said), width="content")


def _kind(kind: str) -> str:
    return t(f"health.kind.{kind}") if kind in ("ingest", "predict", "maintain", "sync", "audit") else words.plain(kind)


def _services(seen: dict[str, Any]) -> None:
    st.subheader(t("health.services"), anchor=False)
    if not seen["services"]:
        st.caption(t("health.no_services"))
        return
    with st.container(border=True, gap="xsmall"):
        for unit in seen["services"]:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{words.plain(unit['name'])}**", width="content")
                st.markdown(mark("service", unit["active"]), width="content")
                again = f" · {t('health.restarts', n=unit['restarts'])}" if unit["restarts"] else ""
                st.caption(f"{words.plain(unit['sub'])}{again}", width="content")


def _box(seen: dict[str, Any]) -> None:
    st.subheader(t("health.box"), anchor=False)
    said = [t("health.version", version=words.plain(seen["version"]))]
    said.append(
        words.plain(seen["database"]) if seen["database"] else t("health.database", size=_gib(seen["database_bytes"]))
    )
    said.append(t("health.disk", free=_gib(seen["disk_free_bytes"]), whole=_gib(seen["disk_bytes"])))
    if (days := seen["disk_days_left"]) is not None:
        said.append(t("health.lasts", days=words.number(round(days))))
    if (bucket := seen["bucket"]) is not None:
        waits = t("health.bucket_waits", n=words.number(bucket["waiting"]), size=_gib(bucket["waiting_bytes"]))
        said.append(waits if bucket["waiting"] else t("health.bucket", n=words.number(bucket["objects"])))
        said[-1] += f" ({words.plain(bucket['error'])})" if bucket["error"] else ""
    for name, version in seen["models"].items():
        shown = words.plain(version) if version else t("health.no_model")
        said.append(t("health.model", profile=words.plain(name), version=shown))
    st.markdown("\n".join(f"- {one}" for one in said))


def _ago(seconds: float | None) -> str:
    return t("words.never") if seconds is None else words.span(seconds)


def _gib(count: int) -> str:
    return f"{count / _GIB:,.1f} GiB"
