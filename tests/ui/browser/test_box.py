"""Tasks around files, models and the box itself, in a real browser before everything real."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.api.test_journey import lines
from tests.ui.browser.stage import PAGE_SECONDS, Stage, drop, named, settled, wait_until
from tests.ui.browser.task import task

expect.set_options(timeout=PAGE_SECONDS * 1000)


@pytest.fixture
def engineer(stage: Stage) -> Iterator[Page]:
    with stage.window("engineer") as page:
        yield page


@pytest.fixture
def operator(stage: Stage) -> Iterator[Page]:
    with stage.window("operator") as page:
        yield page


@pytest.fixture
def viewer(stage: Stage) -> Iterator[Page]:
    with stage.window("viewer") as page:
        yield page


def test_mend_bad_rows_and_hand_them_in(stage: Stage, operator: Page) -> None:
    file = drop(stage, "night_shift.csv", lines(20, bad=3))
    stage.open(operator)
    with task(operator, "See what is wrong with a file, mend its bad rows and hand them in", "Technician") as done:
        done.tap(operator.get_by_role("link", name=named("Data quality")))
        done.tap(operator.get_by_role("link", name=named("night_shift.csv")).first)
        expect(operator.get_by_text("Torque: out of range")).to_be_visible()
        done.taps += 1
        with operator.expect_download() as started:
            operator.get_by_role("button", name=named("Download 3 bad rows")).click()
        rows = started.value.path().read_bytes()
        assert rows.count(b",-5,") == 3
        done.upload(operator.locator("input[type=file]"), "mended.csv", rows.replace(b",-5,", b",41.5,"))
        done.tap(operator.get_by_role("button", name=named("Hand them in")))
        expect(operator.get_by_text("3 mended rows were taken")).to_be_visible()
    stage.passes()
    with stage.client() as api:
        (back,) = api.corrections(file["id"])
    assert (back["rows_good"], back["rows_predicted"]) == (3, 3)
    stage.open(operator, "file", id=back["id"])
    expect(operator.get_by_text(f"These are mended rows of file {file['id']}")).to_be_visible()


def test_roll_back_a_model(stage: Stage, engineer: Page) -> None:
    with stage.client() as api:
        before, after = (item["version"] for item in sorted(api.models("milling"), key=lambda item: not item["active"]))
    stage.open(engineer, "models")
    engineer.get_by_role("button", name=named("Let it serve")).click()
    engineer.get_by_role("button", name=named("Yes, change it")).click()
    expect(engineer.get_by_text(f"The model {after} predicts from now on.")).to_be_visible()
    stage.open(engineer)
    with task(engineer, "Go back to the model that served before", "Engineer") as done:
        done.tap(engineer.get_by_role("link", name=named("Models")))
        done.tap(engineer.get_by_role("button", name=named("Back to the one before")))
        done.tap(engineer.get_by_role("button", name=named("Yes, change it")))
        expect(engineer.get_by_text(f"The model {before} predicts from now on.")).to_be_visible()
    with stage.client() as api:
        assert next(item["version"] for item in api.models("milling") if item["active"]) == before


def test_a_viewer_is_refused_with_a_reason(stage: Stage, viewer: Page) -> None:
    stage.open(viewer)
    with task(viewer, "Try to change the model as a viewer, and learn why not", "Manager") as done:
        done.tap(viewer.get_by_role("link", name=named("Models")))
        expect(viewer.get_by_text("one needs the role engineer, and you have the role viewer")).to_be_visible()
    assert viewer.get_by_role("button", name=named("Let it serve")).count() == 0
    # The API decides, whatever a page shows.
    version = viewer.locator("strong", has_text=re.compile(r"^\d{8}-")).last.inner_text()
    answer = viewer.request.post(
        f"{stage.settings.base_url}/models/{version}/activate?profile=milling", headers={"x-appliance-request": "1"}
    )
    assert answer.status == 403


def test_read_the_health_of_the_box(stage: Stage, engineer: Page) -> None:
    stage.open(engineer)
    with task(engineer, "See whether the box is well, and what to do where it is not", "Plant IT") as done:
        done.tap(engineer.get_by_role("link", name=named("Health")))
        expect(engineer.get_by_text(re.compile("No fault was found|Way out:")).first).to_be_visible()
    expect(engineer.get_by_text("Database answers")).to_be_visible()


def test_a_card_shows_its_plots(stage: Stage, viewer: Page) -> None:
    stage.open(viewer, "models")
    pictures = viewer.locator("[data-testid=stImage] img")
    expect(pictures).to_have_count(3)
    wait_until(lambda: bool(pictures.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 100)")))


@pytest.mark.parametrize("name", ["quality", "models", "health", "file"])
def test_a_phone_needs_no_scrolling_to_the_side(stage: Stage, name: str) -> None:
    with stage.window("operator", phone=True) as page:
        stage.open(page, name, **({"id": 1} if name == "file" else {}))
        room = page.evaluate(
            "() => [document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]"
        )
        assert max(room) <= 361


def test_a_link_opens_signed_in_and_lands_on_the_overview(stage: Stage) -> None:
    from appliance import demo_ui

    *_, link = demo_ui.lines(stage.settings, stage.engine)
    with stage.window(None) as page:
        page.goto(link.strip())
        settled(page)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.get_by_text("Signed in as demo")).to_be_visible()
        assert page.url.startswith(stage.settings.screens_url)


def test_whoever_is_not_signed_in_signs_in_and_comes_back(stage: Stage) -> None:
    with stage.window(None) as page:
        page.goto(stage.address("file", id=1))
        page.get_by_role("link", name=named("Sign in")).wait_for()
        target = page.get_by_role("link", name=named("Sign in")).get_attribute("href") or ""
        assert target.startswith(f"{stage.settings.base_url}/sign-in?next=")


def test_no_page_asks_anything_outside_of_this_machine(stage: Stage) -> None:
    with stage.window("engineer") as page:
        for name in ("overview", "quality", "models", "health"):
            stage.open(page, name)
    assert stage.asked - {""} == {"127.0.0.1"}
