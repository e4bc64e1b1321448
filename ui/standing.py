"""Who stands before a station: a tap says so, and the ledger notes it beside the station's own name."""

from __future__ import annotations

import streamlit as st

from ui import frame, session
from ui.session import Here
from ui.texts import t


def known(here: Here, key: str) -> bool:
    """Whether it is known who acts; before a station at which nobody tapped their name yet, asks for it."""
    if here.must_tap:
        st.caption(t("standing.first"))
        ask(here, key)
    return not here.must_tap


def ask(here: Here, key: str) -> None:
    """Names to tap, and room for another one."""
    with frame.guarded():
        names = here.api.people()
        if here.person and here.person not in names:
            names = [here.person, *names]
        pick, other = f"{key}_pick_{here.person}", f"{key}_other_{here.person}"

        def picked() -> None:
            session.stand(st.session_state[pick] or "")

        def typed() -> None:
            session.stand(" ".join(st.session_state[other].split()))

        st.pills(t("standing.who"), names, default=here.person or None, key=pick, on_change=picked)
        st.text_input(t("standing.other"), key=other, max_chars=60, on_change=typed)
