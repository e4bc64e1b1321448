"""Checking a file in a real browser: what is bad, the way to mend it, the good rows predicted, the file with its predictions."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Page, expect

from appliance.client import Client
from tests.api.test_file_checks import mill_csv
from tests.ui.browser.stage import PAGE_SECONDS, Stage, named, settled
from tests.ui.browser.task import Task, task

expect.set_options(timeout=PAGE_SECONDS * 1000)


def upload(page: Page, name: str, content: bytes, done: Task | None = None) -> None:
    """Chosen, and looked at."""
    chosen = done or Task("", "", page)
    chosen.upload(page.locator("input[type=file]"), name, content)
    chosen.tap(page.get_by_role("button", name=named("Look at it")))


def download(page: Page, label: str) -> bytes:
    """What a link of the API gives; it opens in a window of its own, which closes itself."""
    with page.context.expect_event("page") as opened, page.context.expect_event("download") as started:
        page.get_by_role("link", name=named(label)).click()
    path = started.value.path()
    assert opened.value.is_closed() or opened.value.url in ("", "about:blank")
    return bytes(path.read_bytes())


def test_check_a_file(stage: Stage) -> None:
    with stage.window("operator") as page:
        stage.open(page)
        with task(
            page, "Check a file: see what is bad, have the good rows predicted, take them home", "Engineer"
        ) as done:
            done.tap(page.get_by_role("link", name=named("Check a file")))
            upload(page, "week.csv", mill_csv(400, spoilt={3: "much", 7: "999"}), done)
            expect(page.get_by_text("Torque: out of range")).to_be_visible()
            expect(page.get_by_role("cell", name="999", exact=True)).to_be_visible()
            done.tap(page.get_by_role("button", name=named("Predict 398 good rows")))
            expect(page.get_by_text("398 rows are predicted and stored.")).to_be_visible()
            done.taps += 1
            whole = download(page, "Download the file with its predictions")
        table = pl.read_csv(whole, infer_schema=False)
        assert table.height == 400
        assert table.filter(pl.col("_rejected").is_not_null())["_row"].to_list() == ["3", "7"]
        rows = pl.read_csv(download(page, "Download 2 bad rows"), infer_schema=False)
        assert rows["_row"].to_list() == ["3", "7"]
        expect(page.locator("canvas, svg.marks").first).to_be_visible()

        # The page is opened again: the check is found by its address, and in the list by its name.
        page.reload()
        settled(page)
        expect(page.get_by_role("heading", name="File week.csv")).to_be_visible()
        expect(page.get_by_text("Rows, the likeliest to fail first")).to_be_visible()
        stage.open(page, "check_file")
        page.get_by_role("link", name=named("week.csv")).click()
        settled(page)
        expect(page.get_by_role("heading", name="File week.csv")).to_be_visible()


HOSTILE: dict[str, tuple[str, bytes]] = {
    "a picture": ("rows.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200)),
    "empty": ("rows.csv", b""),
    "other columns": ("rows.csv", b"a,b\n" + b"1,2\n" * 10),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_such_file_gets_one_sentence(stage: Stage, what: str) -> None:
    name, content = HOSTILE[what]
    with stage.window("operator") as page:
        stage.open(page, "check_file")
        upload(page, name, content)
        alert = page.get_by_test_id("stAlert")
        expect(alert).to_have_count(1)
        assert len(alert.inner_text().strip()) > 20
        # Another one can be handed in at once.
        upload(page, "good.csv", mill_csv(20, seed=5))
        expect(page.get_by_role("heading", name="File good.csv")).to_be_visible()


def test_a_phone_needs_no_scrolling_to_the_side(stage: Stage) -> None:
    with Client(stage.settings.base_url, session=stage.cookie("operator")) as api:
        check: dict[str, Any] = api.check_file(
            io.BytesIO(mill_csv(60, seed=9, spoilt={4: "999", 9: "much"})), name="phone.csv", profile="milling"
        )
        while not check["done"]:
            check = api.predict_next(check["id"])
    with stage.window("operator", phone=True) as page:
        for query in ({}, {"check": check["id"]}):
            stage.open(page, "check_file", **query)
            room = page.evaluate(
                "() => [document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]"
            )
            assert max(room) <= 361
