"""The plant at a glance."""

from __future__ import annotations

from ui import frame
from ui.session import Here
from ui.texts import t


def show(here: Here) -> None:
    frame.heading(here, t("pages.overview"))
