"""The screens' entry script, run by Streamlit for each look at a page: who is there, what they may open, the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from appliance.errors import ApplianceError
from ui import frame, pages, session, sidebar
from ui.session import Here
from ui.texts import t

# Our own: Streamlit would have a browser fetch a named one from the internet.
_ICON = str(Path(__file__).parent / "icon.svg")


def main() -> None:
    st.set_page_config(page_title=t("pages.title"), page_icon=_ICON, layout="wide")
    frame.style()
    # A link from a page to itself brings another question, and Streamlit leaves the address as it was: it would ask the
    # old question with the next tap.
    st.query_params.from_dict(st.query_params.to_dict())
    here: Here | None = None
    trouble: ApplianceError | None = None
    try:
        session.stay()
        here = session.here()
    except ApplianceError as error:
        trouble = error
    chosen = st.navigation(_menu(here, trouble), position="sidebar" if here else "hidden")
    if here is not None:
        sidebar.show(here)
    frame.told()
    chosen.run()


def _menu(here: Here | None, trouble: ApplianceError | None) -> dict[str, list[st.Page]]:
    """All pages, for an address that was sent has to lead somewhere whoever opens it; the menu shows what they may."""
    menu: dict[str, list[st.Page]] = {}
    for entry in pages.ENTRIES:
        section = t(f"pages.section.{entry.section or 'none'}")
        may = here is not None and here.may(entry.role)
        menu.setdefault(section, []).append(pages.page(entry.name, _run(entry, here, trouble), may=may))
    return menu


def _run(entry: pages.Entry, here: Here | None, trouble: ApplianceError | None) -> Callable[[], None]:
    def run() -> None:
        with frame.guarded():
            if here is None:
                assert trouble is not None
                raise trouble
            if here.may(entry.role):
                pages.view(entry.name)(here)
            else:
                st.title(t(f"pages.{entry.name}"), anchor=False)
                st.info(t("frame.may_not", role=entry.role, own=here.who["role"]), icon=":material/lock:")

    return run


main()
