"""Checking a setting, and finding predictions again, in a real browser before everything real."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import text

from appliance.store import engine as engines
from appliance.store import writer
from appliance.store.rows import Batch
from tests.ui.browser.stage import PAGE_SECONDS, Stage, named, settled
from tests.ui.browser.task import task
from ui.views import predictions

expect.set_options(timeout=PAGE_SECONDS * 1000)

YESTERDAY = 47


@pytest.fixture(scope="module")
def yesterday(stage: Stage) -> datetime:
    """The hour of plant time in which the schedule predicted rows yesterday: one row of today again, some failing."""
    at = (datetime.now(ZoneInfo(stage.settings.timezone)) - timedelta(days=1)).replace(hour=12, minute=20)
    with engines.transaction(stage.engine) as connection:
        row = connection.execute(
            text("SELECT profile_id, model_id, machine_id, features, modes FROM prediction WHERE source = 2 LIMIT 1")
        ).one()
        failing = np.arange(YESTERDAY) % 10 == 0
        batch = Batch(
            profile_id=row.profile_id,
            model_id=row.model_id,
            source="scheduled",
            file_id=None,
            machine_ids=np.full(YESTERDAY, row.machine_id, dtype=np.int32),
            read_at=np.full(YESTERDAY, at.astimezone(UTC).replace(tzinfo=None), dtype="datetime64[us]"),
            rows=None,
            probability=np.where(failing, 0.9, 0.01).astype(np.float32),
            failing=failing,
            flags=np.zeros(YESTERDAY, dtype=np.int16),
            features=np.tile(np.array(row.features, dtype=np.float32), (YESTERDAY, 1)),
            modes=np.tile(np.array(row.modes, dtype=np.float32), (YESTERDAY, 1)),
        )
        writer.write_predictions(connection, batch, at.astimezone(UTC))
    return at


def stored(stage: Stage, source: str = "webapp") -> int:
    with stage.client() as api:
        counts = api.prediction_counts(source=source)
    return int(counts["passing"] + counts["failing"])


def check(page: Page) -> None:
    page.get_by_role("button", name=named("Check")).last.click()
    settled(page)


def test_check_a_setting_before_it_is_used(stage: Stage) -> None:
    before = stored(stage)
    with stage.window("operator") as page:
        stage.open(page)
        with task(
            page, "Check a setting before it is used: verdict, reason, and what would make it safe", "Operator"
        ) as done:
            done.tap(page.get_by_role("link", name=named("Check one setting")))
            done.type(page.get_by_role("spinbutton", name="Torque (N.m)"), "62")
            done.type(page.get_by_role("spinbutton", name="Tool wear (min)"), "240")
            done.tap(page.get_by_role("button", name=named("Check")).last)
            expect(page.get_by_text("this setting fails").first).to_be_visible()
            expect(page.get_by_text(re.compile("would make it safe|makes it safe"))).to_be_visible()
        assert stored(stage) == before + 1


def test_what_if_answers_as_a_slider_moves_and_stores_nothing(stage: Stage) -> None:
    with stage.window("operator") as page:
        stage.open(page, "check_setting", profile="milling", machine="mill-1")
        page.get_by_role("spinbutton", name="Torque (N.m)").fill("62")
        page.get_by_role("spinbutton", name="Tool wear (min)").fill("240")
        check(page)
        expect(page.get_by_text("this setting fails").first).to_be_visible()
        before = stored(stage)
        with task(page, "See what a lower torque would change, by keyboard", "Operator") as done:
            slider = page.get_by_role("slider", name=named("Torque"))
            slider.focus()
            for _ in range(3):
                done.taps += 1
                page.keyboard.press("PageDown")
                settled(page)
            expect(page.get_by_text("Torque 62")).to_be_visible()
        assert stored(stage) == before


def test_find_yesterdays_scheduled_predictions(stage: Stage, yesterday: datetime) -> None:
    with stage.window("viewer") as page:
        stage.open(page)
        with task(page, "Find yesterday's scheduled predictions that failed, and take them home", "Engineer") as done:
            done.tap(page.get_by_role("link", name=named("Past predictions")))
            done.tap(page.get_by_role("radio", name="yesterday"))
            done.tap(page.get_by_role("radio", name="scheduled"))
            expect(page.get_by_text(f"{YESTERDAY} predictions")).to_be_visible()
            done.tap(page.get_by_role("radio", name="failing", exact=True))
            expect(page.get_by_text("5 predictions")).to_be_visible()
            expect(page.locator("canvas, svg.marks").first).to_be_visible()
            done.taps += 1
            with page.context.expect_event("download") as started:
                page.get_by_role("link", name=named("All as CSV")).click()
        rows = list(csv.DictReader(io.StringIO(started.value.path().read_text())))
        assert [row["source"] for row in rows] == ["scheduled"] * 5
        assert {row["predicted_at"][:13] for row in rows} == {f"{yesterday:%Y-%m-%dT%H}"}
        assert page.url == stage.address("predictions", span="yesterday", source="scheduled", verdict="failing")


def test_walk_through_pages_and_come_back_from_one(stage: Stage, yesterday: datetime) -> None:
    with stage.window("viewer") as page:
        stage.open(page, "predictions", span="yesterday")
        expect(page.get_by_text(f"1 to {predictions.ROWS}, the newest first")).to_be_visible()
        page.get_by_role("button", name=named("Older")).click()
        expect(page.get_by_text(f"{predictions.ROWS + 1} to {YESTERDAY}, the newest first")).to_be_visible()
        with task(page, "Open one of them and see why, then go back to the list", "Engineer") as done:
            done.tap(page.get_by_test_id("stMain").get_by_role("link", name=named(f"{yesterday:%Y-%m-%d}")).first)
            expect(page.get_by_text("What moved the probability")).to_be_visible()
            done.tap(page.get_by_test_id("stMain").get_by_role("link", name=named("Past predictions")))
            expect(page.get_by_text(f"{predictions.ROWS + 1} to {YESTERDAY}, the newest first")).to_be_visible()


def test_a_filter_is_set_by_keyboard_alone(stage: Stage, yesterday: datetime) -> None:
    with stage.window("viewer") as page:
        stage.open(page, "predictions")
        focus = (
            "() => (document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '').trim()"
        )
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(focus) == "24 hours":
                break
        else:
            raise AssertionError("no way to it by keyboard")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
            if page.evaluate(focus) == "yesterday":
                break
        page.keyboard.press("Space")
        settled(page)
        expect(page.get_by_text(f"{YESTERDAY} predictions")).to_be_visible()


@pytest.mark.parametrize("name", ["check_setting", "predictions", "prediction"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_scrolling_to_the_side(stage: Stage, yesterday: datetime, name: str, dark: bool) -> None:
    with stage.client() as api:
        one = next(api.predictions(at_most=1, verdict="failing"))
    with stage.window("operator", phone=True, dark=dark) as page:
        stage.open(page, name, **({"id": one["id"]} if name == "prediction" else {}))
        if name == "check_setting":
            check(page)
        room = page.evaluate(
            "() => [document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]"
        )
        assert max(room) <= 361
