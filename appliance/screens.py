"""Becoming the screens: what can be wrong is said in one sentence first, then this process is Streamlit.

The screens live in the package ``ui``, which knows the API's client and nothing else of the appliance; here stands only
how they are started: for a plant's network, without a word to anybody outside of it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from appliance.errors import SettingError
from appliance.settings import Settings

EXTRA = "ui"
# A tablet whose network was away for a moment finds its page as it was; memory is not kept for one that went home.
_KEPT_SECONDS = 60
# What goes to a browser in one message; tables come a page at a time.
_MESSAGE_MB = 64
# A screen is no keeper of secrets: what the services of the box are given is not for it.
_NOT_OURS = ("APPLIANCE_DSN", "APPLIANCE_API_TOKEN", "APPLIANCE_AIRFLOW_DSN", "APPLIANCE_NOTIFY_TARGETS")


def script() -> Path:
    """The entry script of the screens; SettingError where they are not installed."""
    found, runner = importlib.util.find_spec("ui"), importlib.util.find_spec("streamlit")
    path = Path(found.origin).parent / "app.py" if found is not None and found.origin else None
    if runner is None or path is None or not path.is_file():
        raise SettingError(
            "The screens are not installed.",
            f"Install the extra `{EXTRA}` (pip install 'failure-appliance[{EXTRA}]'), or use the API alone.",
        )
    return path


def command(settings: Settings, path: Path) -> list[str]:
    """The command line; it holds nothing secret, for everybody on the machine can read it."""
    url = urlsplit(settings.screens_url)
    options: Mapping[str, object] = {
        "server.address": settings.ui_host,
        "server.port": settings.ui_port,
        "server.baseUrlPath": url.path.strip("/"),
        "server.headless": "true",
        "server.showEmailPrompt": "false",
        # Pages of other hosts get no socket here, and files are taken from our own pages alone.
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.maxUploadSize": settings.ui_upload_mb,
        "server.maxMessageSize": max(_MESSAGE_MB, settings.ui_upload_mb),
        "server.disconnectedSessionTTL": _KEPT_SECONDS,
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "server.enableStaticServing": "false",
        # Named, so that Streamlit asks no service on the internet which address this machine has.
        "browser.serverAddress": url.hostname or settings.ui_host,
        "browser.serverPort": url.port or (443 if url.scheme == "https" else 80),
        "browser.gatherUsageStats": "false",
        # Blue: red is for alarms.
        "theme.light.primaryColor": "#1f5fae",
        "theme.dark.primaryColor": "#2b74c9",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "runner.magicEnabled": "false",
        "logger.level": settings.log_level,
        "logger.hideWelcomeMessage": "true",
    }
    # -P: a folder that is named as a module and lies where we happen to stand is none.
    words = [sys.executable, "-P", "-m", "streamlit", "run", str(path)]
    return [*words, *(f"--{name}={value}" for name, value in options.items())]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """What the screens are told: no secret of the box, and few arenas, for memory that threads let go is given back."""
    return {"MALLOC_ARENA_MAX": "2", **{name: value for name, value in base.items() if name not in _NOT_OURS}}


def health_url(settings: Settings) -> str:
    """Where Streamlit itself says on this machine whether it is well, under the path that a proxy gives it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.ui_host, settings.ui_host)  # noqa: S104 - compared, not bound
    base = urlsplit(settings.screens_url).path.rstrip("/")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.ui_port}{base}/_stcore/health"


def become(settings: Settings) -> NoReturn:
    words = command(settings, script())
    if "NOTIFY_SOCKET" in os.environ:
        words = [sys.executable, "-P", "-m", "appliance.screens_watched", health_url(settings), *words]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(words[0], words, environment(os.environ))
