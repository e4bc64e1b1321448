"""Saying what really happened: about an alarm, a machine or a prediction. One form, the same on every page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import streamlit as st

from ui import frame, standing, words
from ui.session import Here
from ui.texts import t

Kind = Literal["failure", "false_alarm", "missed_failure", "planned_work"]
# What can have happened where there was an alarm, and where there was none.
OF_ALARM: tuple[Kind, ...] = ("failure", "false_alarm", "planned_work")
OF_MACHINE: tuple[Kind, ...] = ("missed_failure", "failure", "planned_work")


def ask(here: Here, key: str, kinds: Sequence[Kind], **about: Any) -> None:
    """The form; ``about`` is one of ``alarm_id``, ``prediction_id`` and ``machine`` with ``profile``."""
    if not here.may("operator"):
        st.caption(t("outcome.may_not"))
        return
    if not standing.known(here, f"{key}_who"):
        return
    # A press that is sent twice is told once.
    once = st.session_state.setdefault(f"{key}_once", str(uuid4()))
    with st.form(f"{key}_form_{once}", border=True):
        kind = st.radio(
            t("outcome.kind"),
            kinds,
            index=None,
            format_func=lambda kind: t(f"outcome.kinds.{kind}"),
            captions=[t(f"outcome.help.{kind}") for kind in kinds],
            key=f"{key}_kind_{once}",
        )
        at = st.datetime_input(
            t("outcome.at", zone=here.zone.key), value=None, key=f"{key}_at_{once}", help=t("outcome.at_help")
        )
        note = st.text_area(t("outcome.note"), max_chars=2000, key=f"{key}_note_{once}", height=80)
        told = st.form_submit_button(t("outcome.tell"), type="primary", icon=":material/check:")
    if not told:
        return
    if kind is None:
        st.warning(t("outcome.which"), icon=":material/help:")
        return
    with frame.guarded():
        here.api.outcome(kind, happened_at=_in_plant(at, here), note=note.strip(), idempotency_key=once, **about)
        st.session_state.pop(f"{key}_once")
        frame.done(t("outcome.done", kind=t(f"outcome.kinds.{kind}")))


def listed(here: Here, told: Sequence[dict[str, Any]]) -> None:
    """What was told, the newest first."""
    lines = []
    for one in told:
        said = t(
            "outcome.line",
            at=words.when(one["happened_at"], here.zone),
            kind=t(f"outcome.kinds.{one['kind']}"),
            who=words.plain(one["who"]),
        )
        note = f": {words.plain(one['note'])}" if one["note"] else ""
        lines.append(f"- {said}{note}")
    st.markdown("\n".join(lines))


def _in_plant(at: datetime | None, here: Here) -> datetime | None:
    """What a person typed is plant time."""
    return None if at is None else at.replace(tzinfo=here.zone)
