"""How the screens are started: closed to other hosts' pages, silent towards the internet, and told no secret."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from appliance import screens, screens_watched
from appliance.errors import SettingError
from appliance.settings import Settings

SECRET = "postgresql://appliance:hunter2@db/appliance"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def options(settings: Settings) -> dict[str, str]:
    words = screens.command(settings, Path("/somewhere/ui/app.py"))
    assert words[1:6] == ["-P", "-m", "streamlit", "run", "/somewhere/ui/app.py"]
    return {name: value for name, _, value in (word.removeprefix("--").partition("=") for word in words[6:])}


def test_streamlit_knows_every_option() -> None:
    config = pytest.importorskip("streamlit.config")
    for name in options(Settings()):
        config.get_option(name)


def test_it_listens_on_loopback_tells_nobody_and_takes_files_from_its_own_pages_alone() -> None:
    said = options(Settings())
    assert said["server.address"] == "127.0.0.1"
    assert said["browser.gatherUsageStats"] == "false"
    assert said["server.enableXsrfProtection"] == said["server.enableCORS"] == "true"
    assert said["server.fileWatcherType"] == "none"
    assert said["browser.serverAddress"], "without one Streamlit asks the internet for it"


def test_a_path_that_a_proxy_gives_is_the_base_of_all_pages() -> None:
    said = options(Settings(ui_url="https://box.plant.example/screens", ui_upload_mb=100))
    assert said["server.baseUrlPath"] == "screens"
    assert (said["browser.serverAddress"], said["browser.serverPort"]) == ("box.plant.example", "443")
    assert said["server.maxUploadSize"] == "100"


def test_under_systemd_they_are_watched_and_elsewhere_they_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _, words, environment: ran.append(words))
    monkeypatch.setattr(screens, "script", lambda: Path("/somewhere/ui/app.py"))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    settings = Settings(ui_url="https://box.plant.example/screens/", ui_port=8600)
    screens.become(settings)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    screens.become(settings)
    alone, together = ran
    assert together[1:5] == ["-P", "-m", "appliance.screens_watched", "http://127.0.0.1:8600/screens/_stcore/health"]
    assert together[5:] == alone


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8501/_stcore/health"),
        ("::1", "http://[::1]:8501/_stcore/health"),
        ("192.0.2.7", "http://192.0.2.7:8501/_stcore/health"),
    ],
)
def test_they_are_looked_at_where_they_listen(host: str, url: str) -> None:
    assert screens.health_url(Settings(ui_host=host, ui_url=None if ":" not in host else "http://box")) == url


def test_screens_that_are_silent_or_unwell_are_one_sentence(free_port: int) -> None:
    status = 200

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    url = f"http://127.0.0.1:{free_port}/screens/_stcore/health"
    assert screens_watched.look(url) == "The screens do not answer."
    with HTTPServer(("127.0.0.1", free_port), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert screens_watched.look(url) is None
        status = 503
        assert screens_watched.look(url) == "The screens answer with 503."
        server.shutdown()


def test_no_secret_reaches_the_screens() -> None:
    settings = Settings(dsn=SECRET, api_token="tok-secret")  # type: ignore[arg-type]
    words = " ".join(screens.command(settings, Path("app.py")))
    given = screens.environment({"APPLIANCE_DSN": SECRET, "APPLIANCE_API_TOKEN": "tok-secret", "HOME": "/root"})
    for text in (words, " ".join(f"{name}={value}" for name, value in given.items())):
        assert "hunter2" not in text
        assert "tok-secret" not in text
    assert given["HOME"] == "/root"


def test_screens_that_are_not_installed_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="The screens are not installed"):
        screens.script()


@pytest.mark.parametrize("url", ["ftp://box", "box", "https://box/a b", "https://user:pass@box/"])
def test_an_address_of_screens_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="ui_url"):
        Settings(ui_url=url)
