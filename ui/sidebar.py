"""Below the menu: who is signed in, who stands before a station, the way out."""

from __future__ import annotations

import streamlit as st

from ui import frame, session, standing, words
from ui.session import Here
from ui.texts import t


def show(here: Here) -> None:
    with st.sidebar:
        if here.site:
            st.caption(t("sidebar.site", site=words.plain(here.site)))
        if here.who["station"] and here.may("operator"):
            standing.ask(here, "sidebar")
        st.caption(t("sidebar.who", name=words.plain(here.name), role=here.who["role"]))
        if here.who["kind"] == "user":
            st.markdown(f"[{t('sidebar.account')}]({here.api_url}/account)")
            if st.button(t("sidebar.sign_out"), icon=":material/logout:", key="sign_out"):
                with frame.guarded():
                    session.sign_out(here)
                    st.rerun()
