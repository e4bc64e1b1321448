"""Tasks around machines and alarms, in a real browser before everything real."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from appliance import passwords
from appliance.client import SESSION_COOKIE, Client
from appliance.store import engine as engines
from appliance.store import principals, sessions, users
from tests.api.test_explain import WORN
from tests.ui.browser.stage import PAGE_SECONDS, Stage, named, settled
from tests.ui.browser.task import task

expect.set_options(timeout=PAGE_SECONDS * 1000)

REASON = "Power 10,070 W, limit 9,000"
PASSWORD = "a heron eats 7 frogs"


@pytest.fixture(scope="module")
def machines(stage: Stage) -> Iterator[Client]:
    """What machines send."""
    with engines.transaction(stage.engine) as connection:
        secret = principals.create_token(connection, "machines", "operator", "api")
    with Client(stage.settings.base_url, secret) as api:
        yield api


def alarm(machines: Client, machine: str) -> dict[str, Any]:
    """An open alarm of a machine of that name."""
    rows = [WORN, WORN | {"tool_wear": 231}, WORN | {"tool_wear": 232}]
    machines.predict_rows(rows, profile="milling", machine=machine)
    (found,) = machines.alarms("open", machine=machine)
    return found


@contextmanager
def station(stage: Stage) -> Iterator[Page]:
    """A shared tablet."""
    with engines.transaction(stage.engine) as connection:
        user = users.find(connection, "station-3") or users.add(connection, "station-3", "operator", station=True)
        cookie = sessions.start(connection, user, timedelta(hours=1))
    with stage.window(None, phone=True) as page:
        held = {"name": SESSION_COOKIE, "value": cookie, "url": stage.settings.base_url}
        page.context.add_cookies([{**held, "httpOnly": True, "sameSite": "Lax"}])  # type: ignore[list-item]
        yield page


def test_find_the_machine_in_alarm_and_its_reason(stage: Stage, machines: Client) -> None:
    alarm(machines, "press-1")
    with stage.window("viewer") as page:
        stage.open(page, "health")
        with task(page, "Find the machine in alarm, why, and what to do", "Technician") as done:
            done.tap(page.get_by_role("link", name=named("Overview")))
            card = (
                page.locator("[data-testid=stVerticalBlock]").filter(has_text="press-1").filter(has_text="ALARM").last
            )
            expect(card).to_contain_text(REASON)
            expect(card).to_contain_text("Do: Change speed or torque")
        stage.open(page, "machine", profile="milling", machine="press-1")
        expect(page.get_by_text(REASON).first).to_be_visible()
        expect(page.locator("canvas, svg.marks").first).to_be_visible()


def test_acknowledge_an_alarm_and_say_what_happened(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-2")
    with stage.window("operator") as page:
        stage.open(page)
        with task(page, "Acknowledge an alarm, and later say what happened", "Technician") as done:
            done.tap(page.get_by_role("link", name=named("Alarms")))
            done.tap(page.get_by_role("link", name=named("press-2")))
            done.type(page.get_by_label("What is found, or being done"), "fetching a new tool")
            done.tap(page.get_by_role("button", name=named("I look after it")))
            expect(page.get_by_text("Noted: somebody looks after it.")).to_be_visible()
            done.tap(page.get_by_role("tab", name="Say what happened"))
            done.taps += 1
            page.locator("label").filter(has_text=re.compile("^it failed")).first.click()
            done.type(page.get_by_label("What was found, and what was done"), "insert broken, tool changed")
            done.tap(page.get_by_role("button", name=named("Note it")))
            expect(page.get_by_text("Noted: it failed.")).to_be_visible()
    found = machines.alarm(opened["id"])
    assert (found["state"], found["acknowledged_by"], found["outcome"]) == ("closed", "operator", "failure")
    assert found["note"] == "fetching a new tool"


def test_snooze_an_alarm_on_a_phone(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-3")
    with stage.window("operator", phone=True) as page:
        stage.open(page)
        with task(page, "Snooze an alarm on a phone", "Technician") as done:
            card = (
                page.locator("[data-testid=stVerticalBlock]").filter(has_text="press-3").filter(has_text="ALARM").last
            )
            done.tap(card.get_by_role("link", name=named("Answer")))
            done.tap(page.get_by_role("tab", name="Snooze"))
            done.tap(page.get_by_role("button", name=named("Snooze")))
            expect(page.get_by_text("Noted: it is quiet for a while.")).to_be_visible()
    assert machines.alarm(opened["id"])["state"] == "snoozed"


def test_a_deep_link_survives_the_sign_in(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-4")
    with engines.transaction(stage.engine) as connection:
        user = users.find(connection, "anna") or users.add(connection, "anna", "operator")
        users.set_password(connection, user, passwords.hashed(PASSWORD))
    with stage.window(None) as page:
        page.goto(stage.address("alarms", alarm=opened["id"]))
        page.get_by_role("link", name=named("Sign in")).wait_for()
        with task(page, "Open a link from a message, sign in, and be where it leads", "Technician") as done:
            done.taps += 1
            page.get_by_role("link", name=named("Sign in")).click()
            page.get_by_label("Name").fill("anna")
            page.get_by_label("Password").fill(PASSWORD)
            done.fields += 2
            done.taps += 1
            page.get_by_role("button", name="Sign in").click()
            settled(page)
            expect(page.get_by_role("heading", name="Alarm of press-4")).to_be_visible()
        assert page.url == stage.address("alarms", alarm=opened["id"])


def test_a_tap_says_who_stands_before_a_station(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-5")
    with engines.transaction(stage.engine) as connection:
        users.find(connection, "bert") or users.add(connection, "bert", "operator")
        users.set_password(connection, users.get(connection, "bert"), passwords.hashed(PASSWORD))
    with station(stage) as page:
        stage.open(page, "alarms", alarm=opened["id"])
        with task(page, "At a shared tablet, say who one is and acknowledge an alarm", "Technician") as done:
            done.tap(page.locator("[data-testid=stMain]").get_by_role("radio", name="bert"))
            done.tap(page.get_by_role("button", name=named("I look after it")))
            expect(page.get_by_text("Noted: somebody looks after it.")).to_be_visible()
    assert machines.alarm(opened["id"])["acknowledged_by"] == "station-3: bert"


def test_a_viewer_cannot_acknowledge(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-6")
    with stage.window("viewer") as page:
        stage.open(page, "alarms", alarm=opened["id"])
        expect(page.get_by_text("To answer an alarm one needs the role operator.")).to_be_visible()
        assert page.get_by_role("button", name=named("I look after it")).count() == 0
        own = {"x-appliance-request": "1"}
        answer = page.request.post(f"{stage.settings.base_url}/alarms/{opened['id']}/ack", headers=own, data={})
        assert answer.status == 403
    assert machines.alarm(opened["id"])["state"] == "open"


def test_what_is_being_typed_stays_while_the_lists_renew_themselves(stage: Stage, machines: Client) -> None:
    opened = alarm(machines, "press-7")
    with stage.window("operator") as page:
        stage.open(page, "alarms", alarm=opened["id"])
        field = page.get_by_label("What is found, or being done")
        field.click()
        page.keyboard.type("half a sen")
        alarm(machines, "press-8")
        expect(page.get_by_role("link", name=named("press-8"))).to_be_visible()
        page.wait_for_timeout(1_000)
        page.keyboard.type("tence")
        expect(field).to_have_value("half a sentence")
        expect(field).to_be_focused()


@pytest.mark.parametrize("name", ["overview", "alarms", "shift", "machine"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_scrolling_to_the_side(stage: Stage, name: str, dark: bool) -> None:
    with stage.window("operator", phone=True, dark=dark) as page:
        stage.open(page, name, **({"profile": "milling", "machine": "mill-1"} if name == "machine" else {}))
        room = page.evaluate(
            "() => [document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]"
        )
        assert max(room) <= 361


def test_the_shift_change_is_one_sheet(stage: Stage, machines: Client) -> None:
    with stage.window("viewer", dark=True) as page:
        stage.open(page, "shift")
        sheet = page.pdf(format="A4", prefer_css_page_size=True)
    # Front and back, however much there is to say: each list ends after some lines.
    assert len(re.findall(rb"/Type /Page\b", sheet)) <= 2


def test_a_machine_is_found_by_keyboard_alone(stage: Stage, machines: Client) -> None:
    alarm(machines, "press-9")
    with stage.window("viewer") as page:
        stage.open(page)
        for _ in range(60):
            page.keyboard.press("Tab")
            focus = "() => document.activeElement.matches('a') ? document.activeElement.innerText.trim() : ''"
            if page.evaluate(focus).endswith("press-9"):
                break
        else:
            raise AssertionError("no way to it by keyboard")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Machine press-9")).to_be_visible()
