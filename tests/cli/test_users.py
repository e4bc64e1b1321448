"""``appliance user ...`` as an administrator types it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from appliance import cli
from appliance.store import sessions, users
from appliance.store.engine import transaction


@dataclass
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``appliance user ...``, in this process."""
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("APPLIANCE_DSN", dsn)
    monkeypatch.setenv("APPLIANCE_PUBLIC_URL", "https://box.plant.example/")

    def run(*arguments: str, code: int = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["appliance", "user", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = Done(int(ended.value.code or 0), *capsys.readouterr())
        assert done.code == code, done
        return done

    return run


def owner(engine: Engine, link: str) -> str | None:
    """Whose link that is, while it works."""
    address, _, secret = link.rpartition("/")
    assert address == "https://box.plant.example/welcome"
    with transaction(engine) as connection:
        user = sessions.look_at_link(connection, secret, "welcome")
    return user.name if user else None


def test_a_user_is_added_with_a_link_that_is_shown_once(run: Run, engine: Engine) -> None:
    done = run("add", "Ann", "--role", "engineer")
    assert owner(engine, done.out.strip()) == "ann"
    assert "ann (engineer)" in done.err
    listed = run("list").out
    assert done.out.strip() not in listed
    assert "has no password yet" in listed
    told: dict[str, Any] = json.loads(
        run("add", "station-3", "--role", "operator", "--station", "--days", "7", "--json").out
    )
    link = told.pop("link")
    assert told == {"name": "station-3", "role": "operator", "station": True}
    assert owner(engine, link) == "station-3"
    again = json.loads(run("link", "station-3", "--json").out)["link"]
    assert (owner(engine, link), owner(engine, again)) == (None, "station-3")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["add", "ann bob"], 2, "letters"),
        (["add", "s", "--role", "admin", "--station"], 2, "station"),
        (["add", "ann", "--role", "king"], 2, "king"),
        (["add", "ann", "--days", "8"], 2, "equal to 7"),
        (["link"], 2, "--first"),
        (["link", "ann", "--first"], 2, "--first"),
        (["link", "bob"], 1, "user list"),
        (["role", "bob", "viewer"], 1, "'bob'"),
        (["disable", "bob"], 1, "'bob'"),
        (["remove", "bob"], 1, "'bob'"),
    ],
)
def test_what_cannot_be_done_gets_one_sentence(run: Run, arguments: list[str], code: int, word: str) -> None:
    assert word in run(*arguments, code=code).err


def test_an_installer_may_ask_for_the_first_link_as_often_as_it_likes(run: Run, engine: Engine) -> None:
    for _ in range(2):
        first = json.loads(run("link", "--first", "--json").out)
        assert (first["name"], first["role"]) == ("admin", "admin")
        assert owner(engine, first["link"]) == "admin"
    with transaction(engine) as connection:
        users.set_password(connection, users.get(connection, "admin"), "kept")
    done = run("link", "--first")
    assert done.out == ""
    assert "signed in already" in done.err
    assert json.loads(run("link", "--first", "--json").out)["link"] is None
    with transaction(engine) as connection:
        assert [user["name"] for user in users.users(connection)] == ["admin"]


def test_roles_change_and_users_go(run: Run, engine: Engine) -> None:
    run("add", "ann")
    with transaction(engine) as connection:
        user = users.get(connection, "ann")
        plain = sessions.start(connection, user, timedelta(days=1))
    assert run("role", "ann", "operator").out == "ann has the role operator.\n"
    with transaction(engine) as connection:
        assert sessions.find(connection, plain, timedelta(hours=1)) is None
    assert "disabled" in run("disable", "ann").out
    assert "disabled" in run("list").out
    assert "enable" in run("link", "ann", code=1).err
    assert "enabled" in run("enable", "ann").out
    run("remove", "ANN")
    assert json.loads(run("list", "--json").out) == {"users": []}
