"""``appliance notify ...`` as a user types it, and the health check behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance import notify, notify_courier, notify_targets
from appliance.checks import messages
from appliance.checks.base import Context
from appliance.notify_words import Message
from appliance.settings import Settings
from tests.notify.conftest import Plant
from tests.notify.receivers import Mail, Webhook

SECRET = "hunter2secret"


def command(plant: Plant, *arguments: str, targets: str | None = None, code: int = 0) -> str:
    """Its output; nothing of a secret is in it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    ours |= {"APPLIANCE_DSN": plant.dsn, "APPLIANCE_DATA_DIR": str(plant.folder), "APPLIANCE_SITE": "north"}
    if targets is not None:
        ours["APPLIANCE_NOTIFY_TARGETS"] = targets
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "notify", *arguments],
        env=ours,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_target_is_tried(plant: Plant, hook: Webhook, other: Webhook, mail: Mail) -> None:
    other.mood = "500"
    lines = [
        f"alarm={hook.url(f'/{SECRET}')}",
        f"box={other.url(f'/{SECRET}')}",
        "",
        mail.url(),
        f"slak://{SECRET}",
        SECRET,
    ]
    said = command(plant, "test", targets="\n".join(lines), code=1).splitlines()
    assert len(said) == 6
    assert said[0].startswith("line 1, json://127.0.0.1 [")
    assert said[0].endswith("]: delivered")
    assert "line 2, json://127.0.0.1" in said[1]
    assert "It answered 500 Internal Server Error" in said[1]
    assert said[2].endswith("]: delivered")
    assert "there is no such service" in said[3]
    assert said[4].startswith("Line 6 of notify_targets: it is no address")
    assert "set public_url" in said[5]
    assert hook.titles == ["north: test message"]
    assert "reach you here: alarms. Nothing has to be done." in hook.got[0]["message"]
    assert mail.got[0]["subject"] == "north: test message"


def test_only_some_are_tried(plant: Plant, hook: Webhook, other: Webhook) -> None:
    lines = f"alarm={hook.url()}\nbox,quality={other.url()}"
    told = json.loads(command(plant, "test", "--only", "quality", "--json", targets=lines))
    assert [(one["line"], one["error"]) for one in told["targets"]] == [(2, None)]
    assert (len(hook.got), len(other.got)) == (0, 1)


@pytest.mark.parametrize(("name", "targets"), [("test", None), ("send", " \n ")])
def test_without_targets_one_sentence(plant: Plant, name: str, targets: str | None) -> None:
    plant.alarm()
    said = command(plant, name, targets=targets, code=1).strip()
    assert said == "appliance: No target of messages is set. Set notify_targets; docs/notify.md shows how."
    assert plant.is_due, "a shell that does not know the targets settles nothing"


def test_a_pass_by_hand_and_the_list_of_messages(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    plant.file()
    hook.mood = "500"
    assert "It answered 500" in command(plant, "send", targets=hook.url(f"/{SECRET}"), code=1)
    hook.mood = "ok"
    plant.later(minutes=2)
    told = json.loads(command(plant, "send", "--json", targets=hook.url(f"/{SECRET}")))
    assert (told["messages"], told["notices"], told["waiting"]) == (2, 2, 0)
    plant.event()
    listed = json.loads(command(plant, "list", "--json"))["messages"]
    assert [(one["kind"], one["state"]) for one in listed] == [
        ("event", "waiting"),
        ("file", "sent"),
        ("alarm", "sent"),
    ]
    assert "mill-1 (milling): Overstrain" in listed[2]["what"]
    assert "mill-1 (milling): Overstrain" in command(plant, "list", "--limit", "3")


@pytest.fixture
def context(plant: Plant) -> Context:
    return Context(plant.settings(), plant.engine, None, datetime.now(UTC))


def checked(plant: Plant, *lines: str, hours: float = 0) -> list[tuple[str, str]]:
    settings = plant.settings(*lines) if lines else Settings(dsn=plant.dsn)
    now = datetime.now(UTC) + timedelta(hours=hours)
    found = messages.check(Context(settings, plant.engine, None, now))
    assert all(fault.way_out and SECRET not in str(fault) for fault in found)
    return [(fault.name, fault.sentence) for fault in found]


def test_the_check_finds_lines_that_cannot_be_used(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    assert checked(plant, hours=5) == [], "who wants no messages misses none"
    assert checked(plant, hook.url()) == []
    found = checked(plant, hook.url(), f"alam={hook.url(f'/{SECRET}')}", f"slack://{SECRET}")
    assert [name for name, _ in found] == ["notify_targets"] * 2
    assert "Line 2 of notify_targets (json://)" in found[0][1]
    assert "Line 3 of notify_targets (slack://): something is missing in it" in found[1][1]


def test_the_check_finds_messages_that_reach_nobody(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    plant.alarm()
    plant.send(hook.url())
    assert checked(plant, hook.url(), hours=1) == []
    assert checked(plant, hook.url(), hours=3) == [
        ("messages_wait", "1 message waits to be sent, the oldest for 3 hours.")
    ]
    plant.later(days=31)
    plant.send(hook.url())
    [(name, said)] = checked(plant, hook.url())
    assert name == "messages_given_up"
    assert said.startswith("1 message was given up within 7 days")
    assert checked(plant, "json://127.0.0.1:1/another") == [], "of a target that was removed nobody complains"


def test_importing_costs_nothing_and_sending_leaves_apprise_outside(plant: Plant, hook: Webhook) -> None:
    script = (
        "import sys; from appliance import notify; from appliance.settings import Settings;"
        "print([r.error for r in notify.try_all(Settings(notify_targets=sys.stdin.read()))],"
        " sorted({'apprise', 'requests', 'polars', 'numpy', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], input=hook.url(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[None] []"


@pytest.mark.usefixtures("cold")
def test_a_process_that_breaks_off_is_a_failure_like_another(plant: Plant, hook: Webhook) -> None:
    hook.mood = "hang"
    message = Message("north: x", "y")
    with notify_courier.Courier() as courier:
        first, second = courier.send(hook.url(), message), courier.send(hook.url(), message)
        assert courier.answer(0) is None
        assert courier._child is not None
        courier._child.kill()
        got = {courier.answer(60), courier.answer(60)}
        assert got == {(first, notify_courier.BROKEN), (second, notify_courier.BROKEN)}
        assert courier.answer(60) is None
        third = courier.send(hook.url(), message)
        assert courier.answer(60) == (third, notify_courier.BROKEN)


@pytest.mark.usefixtures("cold")
def test_the_process_knows_no_secret_of_ours_and_shows_none(
    plant: Plant, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DSN", SECRET)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", SECRET)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    hook.mood = "hang"
    with notify_courier.Courier() as courier:
        courier.send(hook.url(f"/{SECRET}"), Message("north: x", "y"))
        while not hook.tries:
            assert courier.answer(0.01) is None
        assert courier._child is not None
        for part in ("environ", "cmdline"):
            said = Path(f"/proc/{courier._child.pid}/{part}").read_bytes()
            assert SECRET.encode() not in said
            assert (b"proxy.example" in said) == (part == "environ"), "the environment's proxy applies"


def test_a_target_says_nothing_of_itself_in_errors(plant: Plant) -> None:
    [target] = notify_targets.read(plant.settings(f"json://user:{SECRET}@127.0.0.1:9/{SECRET}"))[0]
    assert SECRET not in str(target.wrong("it is wrong")) + repr(target) + target.label
    assert notify.Sent(busy=True).sentence() == "Messages are being sent by another process."


def test_what_the_schedule_left_lying_is_sent_without_it(plant: Plant, hook: Webhook) -> None:
    target = hook.url(f"/{SECRET}")
    plant.event("The schedule is silent.")
    assert "Nothing was left over" in command(plant, "send", "--left-over", targets=target)
    assert json.loads(command(plant, "send", "--left-over", "--json", targets=target))["messages"] == 0
    plant.later(minutes=11)
    assert "Nothing was left over" in command(plant, "send", "--left-over"), "where nobody is told, nothing is settled"
    assert plant.is_due
    assert "1 message sent" in command(plant, "send", "--left-over", targets=target)
    assert len(hook.got) == 1
