"""The API under a service manager: it takes its socket, says how it is, and falls silent when it is not well."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from appliance.api import watchdog
from appliance.api.watchdog import Watchdog
from appliance.client import Client
from appliance.serving import Models
from appliance.settings import Settings
from tests.api.conftest import running
from tests.api.test_serve import ROW


class Manager:
    """The half of systemd that a service talks to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "api.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.path.chmod(0o660)
        self.listener.listen()
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        self._told.settimeout(60)
        self._folder = folder

    def close(self) -> None:
        self.listener.close()
        self._told.close()

    def until(self, word: str) -> str:
        """The next message that has the word."""
        while word not in (message := self._told.recv(4096).decode()):
            pass
        return message

    @contextmanager
    def service(self, settings: Settings, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        assert settings.dsn is not None
        number = self.listener.fileno()
        environment = os.environ | {
            "APPLIANCE_DATA_DIR": str(settings.data_dir),
            "APPLIANCE_DSN": settings.dsn.get_secret_value(),
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            **more,
        }
        line = f'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$@" 3<&{number}'
        command = ["bash", "-c", line, "bash", sys.executable, "-m", "appliance.api"]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stderr=log, pass_fds=[number])
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def test_requests_wait_through_a_restart(settings: Settings, token: Callable[..., str], manager: Manager) -> None:
    answers: list[int] = []
    secret = token("operator")

    def ask() -> None:
        with Client(manager.path, secret) as client:
            answers.append(client.predict_rows([ROW], profile="milling", machine="mill-1")["rows"]["predicted"])

    for _ in range(2):
        # Asked while nobody is there: systemd holds the socket, and the service finds the request in it.
        early = threading.Thread(target=ask)
        early.start()
        with manager.service(settings, WATCHDOG_USEC="600000") as service:
            assert "STATUS=Serving milling" in manager.until("READY=1")
            manager.until("WATCHDOG=1")
            early.join(60)
            service.send_signal(signal.SIGTERM)
            manager.until("STOPPING=1")
            assert service.wait(60) in (0, -signal.SIGTERM)
    assert answers == [1, 1]
    # It is the manager's, who would have to make it again.
    assert stat.S_ISSOCK(manager.path.stat().st_mode)


def test_sockets_that_are_not_for_it_are_refused(settings: Settings, manager: Manager, tmp_path: Path) -> None:
    manager.listener.close()
    manager.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.listener.bind(str(tmp_path / "other"))
    with manager.service(settings) as service:
        assert service.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert said.startswith("appliance: The API was started with sockets that are not for it.")
    assert "Traceback" not in said


def test_one_that_works_has_no_trouble(app: FastAPI, tmp_path: Path) -> None:
    with running(app, tmp_path / "api.sock") as path:
        models: Models = app.state.api.models
        assert models.names()
        assert Watchdog(socket.AF_UNIX, str(path), models).trouble() is None


def test_a_model_that_forgot_is_trouble(app: FastAPI, tmp_path: Path) -> None:
    models: Models = app.state.api.models
    with running(app, tmp_path / "api.sock") as path:
        served = models.get("pump")
        golden = replace(served.bundle.golden, expected=1 - served.bundle.golden.expected)
        models._served["pump"] = replace(served, bundle=replace(served.bundle, golden=golden))
        found = Watchdog(socket.AF_UNIX, str(path), models).trouble()
    assert found is not None
    assert f"pump {served.version}" in found
    assert "golden rows" in found


def test_one_that_takes_connections_and_answers_none_is_trouble(
    app: FastAPI, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_ANSWER_SECONDS", 0.2)
    looking = Watchdog(socket.AF_UNIX, str(manager.path), app.state.api.models)
    assert looking.trouble() == "The API does not answer itself (timed out)."
    manager.listener.close()
    assert looking.trouble() == "The API does not answer itself (Connection refused)."
