"""The API goes away and comes back: every page says so, and is itself again without anybody's doing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser.stage import Stage
from ui import pages
from ui.texts import t

_SECONDS = 60_000
_AWAY = re.compile("comes back by itself")


@pytest.fixture(scope="module")
def known(stage: Stage) -> dict[str, dict[str, object]]:
    """Every page, with what those that show one thing are to show."""
    with stage.client() as api:
        prediction = next(api.predictions(at_most=1))
    one: dict[str, dict[str, object]] = {
        "machine": {"profile": "milling", "machine": "mill-1"},
        "prediction": {"id": prediction["id"]},
        "file": {"id": 1},
    }
    return {name: one.get(name, {}) for name in pages.NAMES}


def test_every_page_says_that_the_api_is_away_and_comes_back(stage: Stage, known: dict[str, dict[str, object]]) -> None:
    with stage.window("engineer") as first:
        stage.open(first)
        opened: dict[str, Page] = {}
        with stage.without_api():
            # A page that is looked at notices by itself, and shows nothing as if it were new.
            expect(first.get_by_text(_AWAY).first).to_be_visible(timeout=_SECONDS)
            assert first.get_by_text("Newest reading").count() == 0
            for name, query in known.items():
                page = opened[name] = first.context.new_page()
                page.goto(stage.address(name, **query))
                expect(page.get_by_text(_AWAY).first, name).to_be_visible(timeout=_SECONDS)
                assert page.get_by_text("Newest reading").count() == 0, name
        expect(first.get_by_text("Newest reading")).to_be_visible(timeout=_SECONDS)
        for name, page in opened.items():
            page.bring_to_front()
            expect(page.get_by_text(_AWAY), name).to_have_count(0, timeout=_SECONDS)
            expect(page.get_by_role("heading", level=1), name).to_contain_text(t(f"pages.{name}"), timeout=_SECONDS)
