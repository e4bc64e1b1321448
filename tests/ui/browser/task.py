"""One task of one person, counted: taps, fields that were typed into, files that were chosen, seconds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, Page

from tests.ui.browser.stage import settled, still

# Where finished tasks are noted, a JSON object a line; nowhere where it is not set.
OUT = "APPLIANCE_TASKS_OUT"


@dataclass
class Task:
    """``page`` is opened already: a task begins with the first thing that a person does."""

    title: str
    persona: str
    page: Page = field(repr=False)
    taps: int = 0
    fields: int = 0
    files: int = 0
    seconds: float = 0.0

    def tap(self, target: Locator) -> None:
        """A tap, and the page as it is after it."""
        self.taps += 1
        still(self.page)
        target.click()
        settled(self.page)

    def choose(self, box: Locator, option: str) -> None:
        """Out of a list that opens: two taps."""
        self.taps += 2
        box.click()
        self.page.get_by_role("option", name=option, exact=True).click()
        settled(self.page)

    def type(self, target: Locator, text: str) -> None:
        self.fields += 1
        target.fill(text)
        target.press("Tab")
        settled(self.page)

    def upload(self, target: Locator, name: str, content: bytes, kind: str = "text/csv") -> None:
        self.files += 1
        target.set_input_files({"name": name, "mimeType": kind, "buffer": content})
        settled(self.page)


@contextmanager
def task(page: Page, title: str, persona: str) -> Iterator[Task]:
    """Noted where it was done to its end."""
    done = Task(title, persona, page)
    began = time.monotonic()
    yield done
    done.seconds = round(time.monotonic() - began, 1)
    if out := os.environ.get(OUT):
        noted = {name: value for name, value in vars(done).items() if name != "page"}
        with Path(out).open("a", encoding="utf-8") as file:
            file.write(json.dumps(noted) + "\n")
