"""The demo's screens: one more child, and a link that opens signed in."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import httpx

from appliance import children, screens
from appliance.errors import SettingError
from appliance.settings import Settings
from appliance.store import engine, sessions
from appliance.store.engine import Engine

PORT = 8501
USER = "demo"
_LINK_LASTS = timedelta(days=1)
_START_SECONDS = 60.0


def installed(tell: Callable[[str], None]) -> bool:
    try:
        screens.script()
    except SettingError as error:
        tell(f"{error} The demo runs without them.")
        return False
    return True


def start(stack: ExitStack, environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """They end with ``stack``, and with this process."""
    log = stack.enter_context((folder / "screens.log").open("ab"))
    return stack.enter_context(children.python(["-m", "appliance", "ui"], screens.environment(environment), log))


def wait(settings: Settings, child: subprocess.Popen[bytes]) -> None:
    """Until a page can be opened; one that never can ends the demo soon enough."""
    url, until = screens.health_url(settings), time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=2) as http:
        while child.poll() is None and time.monotonic() < until:
            try:
                if http.get(url).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)


def lines(settings: Settings, box_engine: Engine) -> list[str]:
    """The link works once; the browser that opened it stays signed in."""
    with engine.transaction(box_engine) as connection:
        path = sessions.entry(connection, USER, "engineer", _LINK_LASTS)
    link = f"{settings.base_url}{path}?next={quote(settings.screens_url + '/', safe='')}"
    return [f"Screens  {settings.screens_url}; this link opens them signed in, once:", f"         {link}"]
