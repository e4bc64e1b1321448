"""A small plant to look at: PostgreSQL, the API and the screens as processes of their own, files that came and were
predicted, people who are signed in, and Chromium before it.

Tests use it, and so do the commands that take pictures and measure.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright
from pydantic import SecretStr
from sqlalchemy import Engine

from appliance import children, pipeline, screens
from appliance.client import SESSION_COOKIE, Client
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import principals, sessions, users

CHROMIUM = next(
    (Path(path) for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None
)
START_SECONDS = 60.0
PAGE_SECONDS = 30.0
MACHINES = 4
# Chromium itself may not look anything up, and says nothing to anybody.
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
)
_ARGUMENTS = (*QUIET, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
_PHONE, _DESK = {"width": 360, "height": 780}, {"width": 1280, "height": 900}
_READY = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.dataset.testScriptState === 'notRunning' && app.dataset.testConnectionState === 'CONNECTED'
    && document.querySelector('h1') && !document.querySelector('[data-stale="true"], [data-testid^="stSkeleton"]');
}"""


@dataclass
class Stage:
    settings: Settings
    engine: Engine
    browser: Browser
    start_api: Callable[[], subprocess.Popen[bytes]]
    api: subprocess.Popen[bytes]
    ui: subprocess.Popen[bytes]
    secret: str
    cookies: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)  # hosts that any page asked for anything

    @property
    def box(self) -> pipeline.Box:
        """The passes, as the schedule runs them."""
        known = {"api_url": self.settings.base_url, "api_token": SecretStr(self.secret), "settle_seconds": 0.0}
        return pipeline.Box(self.settings.model_copy(update=known), self.engine)

    def passes(self) -> None:
        pipeline.ingest(self.box)
        pipeline.predict(self.box)

    @contextmanager
    def without_api(self) -> Iterator[None]:
        """The API is away, as after a crash, and back at its address afterwards."""
        self.api.kill()
        self.api.wait()
        try:
            yield
        finally:
            self.api = self.start_api()

    def client(self) -> Client:
        return Client(self.settings.base_url, self.secret)

    def cookie(self, role: Any) -> str:
        """The session of a user of that role."""
        if role not in self.cookies:
            with engines.transaction(self.engine) as connection:
                user = users.find(connection, role) or users.add(connection, role, role)
                self.cookies[role] = sessions.start(connection, user, timedelta(hours=2))
        return self.cookies[role]

    def address(self, page: str = "overview", **query: Any) -> str:
        path = "" if page == "overview" else page.replace("_", "-")
        return f"{self.settings.screens_url}/{path}{'?' if query else ''}{urlencode(query)}"

    @contextmanager
    def window(self, role: str | None = "viewer", *, phone: bool = False, dark: bool = False) -> Iterator[Page]:
        """A browser of its own in which a user of that role is signed in; None: nobody is."""
        context = self.browser.new_context(
            viewport=_PHONE if phone else _DESK,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            has_touch=phone,
            accept_downloads=True,
            locale="en-GB",
        )
        context.set_default_timeout(PAGE_SECONDS * 1000)
        if role is not None:
            self._sign_in(context, role)
        context.on("request", self._note)
        page = context.new_page()
        try:
            yield page
        finally:
            context.close()

    def _sign_in(self, context: BrowserContext, role: str) -> None:
        cookie = {"name": SESSION_COOKIE, "value": self.cookie(role), "url": self.settings.base_url}
        context.add_cookies([{**cookie, "httpOnly": True, "sameSite": "Lax"}])  # type: ignore[list-item]

    def _note(self, request: Request) -> None:
        self.asked.add(urlsplit(request.url).hostname or "")

    def open(self, page: Page, name: str = "overview", **query: Any) -> None:
        page.goto(self.address(name, **query))
        settled(page)


def settled(page: Page) -> None:
    """Until the page is drawn: its script has ended, and nothing on it is of a run before."""
    page.wait_for_selector("h1", timeout=PAGE_SECONDS * 1000)
    page.wait_for_timeout(150)
    still(page)


def still(page: Page) -> None:
    """Until nothing is being drawn: while it is, what stood there before can stand beside what comes."""
    page.wait_for_function(_READY, timeout=PAGE_SECONDS * 1000)


@contextmanager
def staged(folder: Path, settings: Settings, *, trained: bool = False) -> Iterator[Stage]:
    """``settings`` name a migrated database and a data folder, with its models unless they are to be ``trained``."""
    seen = settings.model_copy(update={"api_port": _free(), "ui_port": _free(), "timezone": "Europe/Berlin"})
    environment = _environment(seen)
    with ExitStack() as stack:
        engine = engines.connect(seen.require_dsn(), "stage")
        stack.callback(engine.dispose)
        if trained:
            _train(seen, environment)

        def start_api() -> subprocess.Popen[bytes]:
            log = folder / "api.log"
            child = _child(stack, log, ["-m", "appliance", "api"], environment)
            _answers(f"{seen.base_url}/health/live", child, log)
            return child

        ui = _child(stack, folder / "ui.log", ["-m", "appliance", "ui"], screens.environment(environment))
        with engines.transaction(engine) as connection:
            secret = principals.create_token(connection, "stage", "operator", "scheduled")
        api = start_api()
        _answers(f"{seen.screens_url}/_stcore/health", ui, folder / "ui.log")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(_ARGUMENTS))
        stack.callback(browser.close)
        yield Stage(seen, engine, browser, start_api, api, ui, secret)


def play(stage: Stage, *, rounds: int = 6, rows: int = 30, seed: int = 7, pause: float = 1.0) -> None:
    """Mills that drop files with every kind of fault now and then, taken in round by round."""
    for number in range(rounds):
        simulate = ["-m", "model.simulate", "--plant", "milling", "--into", str(stage.settings.raw), "--every", "0"]
        simulate += ["--machines", str(MACHINES), "--rows-per-file", str(rows), "--files", "1"]
        simulate += ["--faults", "0.3", "--seed", str(seed + number)]
        subprocess.run([sys.executable, *simulate], check=True, env=_environment(stage.settings), capture_output=True)
        stage.passes()
        time.sleep(pause)


def drop(stage: Stage, name: str, content: str, machine: str = "mill-1") -> dict[str, Any]:
    """A file as a machine drops it, taken in; the API's words about it."""
    folder = stage.settings.raw / "milling" / machine
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")
    stage.passes()
    with stage.client() as api:
        return next(file for file in api.files() if file["name"] == name)


def _train(settings: Settings, environment: dict[str, str]) -> None:
    """Two versions on the simulator's rows, of which the second serves."""
    for seed, count in ((1, "4000"), (2, "8000")):
        rows = settings.data_dir / f"rows-{seed}.csv"
        rows.parent.mkdir(parents=True, exist_ok=True)
        simulate = [
            "-m",
            "model.simulate",
            "--plant",
            "milling",
            "--rows",
            count,
            "--seed",
            str(seed),
            "--out",
            str(rows),
        ]
        train = ["-m", "model.train", "--profile", "milling", "--data", str(rows), "--activate"]
        for words in (simulate, train):
            subprocess.run([sys.executable, *words], check=True, env=environment, capture_output=True)


def _environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    return kept | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.require_dsn(),
        "APPLIANCE_API_PORT": str(settings.api_port),
        "APPLIANCE_UI_PORT": str(settings.ui_port),
        "APPLIANCE_TIMEZONE": settings.timezone,
        "APPLIANCE_SITE": settings.site,
        "APPLIANCE_LOG_LEVEL": "warning",
    }


def _child(stack: ExitStack, log: Path, words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    output = stack.enter_context(log.open("ab"))
    return stack.enter_context(children.python(words, environment, output))


def _answers(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, timeout=2) as http:
        while child.poll() is None and time.monotonic() < until:
            try:
                if http.get(url).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url}: {log.read_text()[-2000:]}")


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def named(text: str) -> re.Pattern[str]:
    """A label that begins so: icons stand before some."""
    return re.compile(rf"(^|\s){re.escape(text)}")
