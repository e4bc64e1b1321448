"""Pages as Streamlit runs them, before the real API on a real database.

``browse("operator")("alarms", alarm=7)`` is a page that a user of that role has before them: an ``AppTest`` of the entry
script. A test browser brings no cookies, so the session is put in by replacing :func:`ui.session.cookie`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from appliance.client import Client
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import sessions, users
from tests.api.conftest import (  # noqa: F401 - fixtures
    app,
    running_tcp,
    settings,
    shelf,
    token,
)
from ui import session

SCRIPT = Path(session.__file__).parent / "app.py"
# The first run of a process imports what pages need.
SECONDS = 30


@dataclass
class Box:
    """The running API, whom the screens ask; it can go away and come back under its address."""

    settings: Settings
    engine: Engine
    url: str
    clients: list[Client] = field(default_factory=list)

    def client(self, secret: str) -> Client:
        """For what machines and schedules do."""
        self.clients.append(Client(self.url, secret))
        return self.clients[-1]


@dataclass
class Browser:
    """Somebody's browser; ``cookie`` is None where nobody is signed in. Called with a page's name it opens that page."""

    box: Box
    cookie: str | None
    patch: pytest.MonkeyPatch

    def __call__(self, page: str = "overview", /, **query: Any) -> AppTest:
        at = AppTest.from_file(SCRIPT, default_timeout=SECONDS)
        path = page.replace("_", "-")
        at.context["url"] = f"http://127.0.0.1:8501/{'' if page == 'overview' else path}"
        at.query_params.update({name: str(value) for name, value in query.items()})
        # AppTest opens other pages by their file alone; ours are functions, known by their path.
        at._page_hash = calc_hash(path)
        return self.run(at)

    def run(self, at: AppTest) -> AppTest:
        """Run it again, as this browser; no page may end in a traceback."""
        self.patch.setattr(session, "cookie", lambda: self.cookie)
        at.run()
        if "_client" in at.session_state and at.session_state["_client"][1] not in self.box.clients:
            self.box.clients.append(at.session_state["_client"][1])
        assert not at.exception, [found.value for found in at.exception]
        return at


@pytest.fixture
def box(app: FastAPI, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:  # noqa: F811
    """The API on a port of this machine, and screens that are told of it."""
    with ExitStack() as stack:
        url = stack.enter_context(running_tcp(app))
        box = Box(settings, engine, url)
        point(monkeypatch, settings, url)
        yield box
        for client in box.clients:
            client.close()


def point(patch: pytest.MonkeyPatch, settings: Settings, url: str) -> None:  # noqa: F811
    """Have the screens ask the API at ``url``."""
    seen = settings.model_copy(update={"api_url": url, "dsn": None})
    patch.setattr(session, "settings", lambda: seen)


@pytest.fixture
def browse(box: Box, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Browser]:
    """A browser in which a user of that role (or station) is signed in; ``browse(None)``: nobody is."""
    made: dict[tuple[str, bool], str] = {}

    def browser(role: Any = "viewer", *, station: bool = False) -> Browser:
        if role is None:
            return Browser(box, None, monkeypatch)
        if (role, station) not in made:
            name = f"{'station' if station else 'user'}-{role}"
            with engines.transaction(box.engine) as connection:
                user = users.add(connection, name, role, station=station)
                made[role, station] = sessions.start(connection, user, timedelta(hours=1))
        return Browser(box, made[role, station], monkeypatch)

    return browser


@pytest.fixture
def plant(box: Box, token: Callable[..., str]) -> Client:  # noqa: F811
    """What machines send: their rows move states and alarms."""
    return box.client(token("operator", "api"))


def texts(at: AppTest) -> str:
    """Everything that can be read on the page and its side, a piece a line."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "info",
        "warning",
        "error",
        "success",
        "text",
        "html",
    )
    pieces = [str(found.value if hasattr(found, "value") else found.body) for kind in kinds for found in at.get(kind)]
    pieces += [f"{found.label}: {found.value}" for found in at.get("metric")]
    pieces += [found.proto.label for found in at.get("page_link")]
    return "\n".join(pieces)
