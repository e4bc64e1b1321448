"""The page for the shift change: what the next shift has to know, on one sheet of A4 for a usual day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

import streamlit as st

from ui import alarm, frame, sheet, states, words
from ui.session import Here
from ui.texts import t
from ui.views import alarms as alarm_pages

_HOURS = (8, 12, 24)
# What fits on a sheet; the rest is counted.
_MOST = 10
_LINES = 3


def show(here: Here) -> None:
    st.title(t("shift.title"), anchor=False)
    with st.container(key="no_print", gap="small"):
        hours = st.segmented_control(
            t("shift.hours"), _HOURS, default=_HOURS[0], format_func=lambda n: t("shift.span", n=n), key="shift_hours", required=True
        )  # fmt: skip
        st.caption(t("shift.print"))
    now = words.now()
    since = now - timedelta(hours=hours or _HOURS[0])
    with frame.guarded():
        _sheet(here, since, now)


def _sheet(here: Here, since: datetime, now: datetime) -> None:
    site = t("shift.site", site=words.plain(here.site)) if here.site else ""
    st.markdown(t("shift.period", site=site, since=_full(here, since), until=_full(here, now), zone=here.zone.key))
    frame.ages(here)
    machines = states.by_risk(here.api.machines(), now)
    _machines(here, [one for one in machines if states.needs_somebody(one, now)])
    silent = [one["name"] for one in machines if states.of(one, now) in ("stale", "silent")]
    if silent:
        st.markdown(t("shift.silent", n=len(silent), names=words.plain(", ".join(silent[:20]))))
    _closed(here, since)
    _day(here, since)
    _record(here, now)
    st.html(
        "".join(f'<div class="write">{escape(t("shift.notes")) if n == 0 else "&nbsp;"}</div>' for n in range(_LINES))
    )


def _machines(here: Here, pressing: Sequence[dict[str, Any]]) -> None:
    st.subheader(t("shift.pressing"), anchor=False)
    if not pressing:
        st.markdown(t("shift.nobody"))
        return
    rows = []
    for one in pressing[:_MOST]:
        reason, episode = one["reason"] or {}, one["alarm"]
        state = t(f"state.{episode['state']}") if episode else one["verdict"] or t("state.failing")
        since = words.when(episode["opened_at"], here.zone) if episode else words.when(one["last_read_at"], here.zone)
        who = [episode["acknowledged_by"], episode["note"]] if episode else []
        what = [reason.get("text", ""), reason.get("action", "")]
        rows.append((one["name"], state, since, "\n".join(filter(None, what)), "\n".join(filter(None, who))))
    heads = ("machine", "state", "since", "reason", "who")
    _table([t(f"shift.head.{head}") for head in heads], rows, len(pressing))


def _closed(here: Here, since: datetime) -> None:
    """What ended in the shift."""
    found = [one for one in here.api.alarms("closed", at_most=200) if _in(one["closed_at"], since)]
    told = [one for one in here.api.outcomes(at_most=200) if _in(one["created_at"], since) and one["alarm_id"] is None]
    if not found and not told:
        return
    st.subheader(t("shift.ended"), anchor=False)
    rows = [
        (one["machine"], alarm.became(one), words.when(one["closed_at"], here.zone), one["details"].get("text", ""))
        for one in found
    ]
    rows += [
        (one["machine"], t(f"outcome.kinds.{one['kind']}"), words.when(one["happened_at"], here.zone), one["note"])
        for one in told
    ]
    heads = ("machine", "became", "at", "reason")
    _table([t(f"shift.head.{head}") for head in heads], rows[:_MOST], len(rows))


def _day(here: Here, since: datetime) -> None:
    st.subheader(t("shift.data"), anchor=False)
    day = here.api.day(from_=since)
    figures = {name: words.number(value) for name, value in day.items() if isinstance(value, int)}
    st.markdown(t("shift.figures", **figures))
    bad = list(here.api.files(criticality="high", from_=since, at_most=_MOST))
    lines = []
    for one in bad[:5]:
        why = one["sentence"] or t(
            "shift.bad_rows", bad=words.number(one["rows_bad"]), rows=words.number(one["rows_in"])
        )
        at = words.when(one["arrived_at"], here.zone)
        lines.append(f"- {t('shift.file', name=words.plain(one['name']), at=at, why=words.plain(why))}")
    st.markdown("\n".join(lines))


def _record(here: Here, now: datetime) -> None:
    since = now - timedelta(days=30)
    st.markdown(f"{t('shift.record')} {alarm_pages.record_words(here.api.record(from_=since.isoformat()))}")


def _in(text: str | None, since: datetime) -> bool:
    at = words.moment(text)
    return at is not None and at >= since


def _full(here: Here, at: datetime) -> str:
    return f"{at.astimezone(here.zone):%Y-%m-%d %H:%M}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> None:
    sheet.draw(heads, rows)
    if count > _MOST:
        st.caption(t("shift.more", n=count - _MOST))
