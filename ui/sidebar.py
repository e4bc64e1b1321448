"""Below the menu: who is signed in, who stands before a station, the way out."""

from __future__ import annotations

import streamlit as st

from ui import frame, session, words
from ui.session import Here
from ui.texts import t

_OTHER = "_other_person"


def show(here: Here) -> None:
    with st.sidebar:
        if here.site:
            st.caption(t("sidebar.site", site=words.plain(here.site)))
        if here.who["station"] and here.may("operator"):
            _standing(here)
        st.caption(t("sidebar.who", name=words.plain(here.name), role=here.who["role"]))
        if here.who["kind"] == "user":
            st.markdown(f"[{t('sidebar.account')}]({here.api_url}/account)")
            if st.button(t("sidebar.sign_out"), icon=":material/logout:", key="sign_out"):
                with frame.guarded():
                    session.sign_out(here)
                    st.rerun()


def _standing(here: Here) -> None:
    """A tap says who it is; the station's own name stays beside it in every ledger."""
    with frame.guarded():
        names = here.api.people()
        if here.person and here.person not in names:
            names = [here.person, *names]
        st.pills(
            t("sidebar.who_stands"),
            names,
            default=here.person or None,
            key=f"person_{here.person}",
            on_change=lambda: session.stand(st.session_state[f"person_{here.person}"] or ""),
        )
        st.text_input(
            t("sidebar.other_name"),
            key=_OTHER,
            max_chars=60,
            on_change=_other,
        )


def _other() -> None:
    if name := " ".join(st.session_state[_OTHER].split()):
        session.stand(name)
    st.session_state[_OTHER] = ""
