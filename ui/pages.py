"""The pages by name: where they are found, and who may open them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import streamlit as st

from ui.session import Here, Role
from ui.texts import t


@dataclass(frozen=True, slots=True)
class Entry:
    """``section`` is the heading in the menu; a page without one is reached by links alone."""

    name: str
    section: str
    role: Role
    icon: str

    @property
    def path(self) -> str:
        return self.name.replace("_", "-")


ENTRIES = (
    Entry("overview", "now", "viewer", "dashboard"),
    Entry("alarms", "now", "viewer", "notifications"),
    Entry("shift", "now", "viewer", "print"),
    Entry("check_setting", "check", "operator", "tune"),
    Entry("check_file", "check", "operator", "upload_file"),
    Entry("predictions", "check", "viewer", "history"),
    Entry("quality", "box", "viewer", "fact_check"),
    Entry("models", "box", "viewer", "model_training"),
    Entry("health", "box", "viewer", "monitor_heart"),
    Entry("machine", "", "viewer", "precision_manufacturing"),
    Entry("prediction", "", "viewer", "query_stats"),
    Entry("file", "", "viewer", "description"),
)
FIRST = ENTRIES[0].name
NAMES = tuple(entry.name for entry in ENTRIES)


def view(name: str) -> Callable[[Here], None]:
    """The page's ``show``."""
    show: Callable[[Here], None] = import_module(f"ui.views.{name}").show
    return show


def page(name: str, run: Callable[[], None] | None = None, *, may: bool = True) -> st.Page:
    """The page as Streamlit names it; without ``run`` it is only good for links."""
    entry = next(entry for entry in ENTRIES if entry.name == name)
    return st.Page(
        run or (lambda: None),
        title=t(f"pages.{name}"),
        icon=f":material/{entry.icon}:",
        url_path=entry.path,
        default=name == FIRST,
        visibility="visible" if entry.section and may else "hidden",
    )
