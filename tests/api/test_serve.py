"""The API as a process of its own: sockets, signals, what it says when it cannot start, what it logs."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from appliance.api import schema
from appliance.api.serve import address, listen
from appliance.client import Client
from appliance.errors import ApiAway, SettingError
from appliance.settings import Settings
from tests import profiles

ROW = schema.example_row(profiles.load("milling"))


@contextmanager
def served(settings: Settings, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    assert settings.dsn is not None
    environment = os.environ | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.dsn.get_secret_value(),
        **more,
    }
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "appliance.api"], env=environment, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def await_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if client.health()["ready"]:
                return
        except ApiAway:
            pass
        time.sleep(0.05)
    pytest.fail(log.read_text())


def test_a_process_serves_a_socket_and_logs_no_secret(
    settings: Settings, token: Callable[..., str], tmp_path: Path
) -> None:
    path, log, secret = tmp_path / "api.sock", tmp_path / "log", token("operator")
    with served(settings, log, APPLIANCE_API_SOCKET=str(path)) as process, Client(path, secret) as client:
        await_ready(client, process, log)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        # A second one must not take the socket away from the first.
        with served(settings, tmp_path / "second", APPLIANCE_API_SOCKET=str(path)) as second:
            assert second.wait(60) == 1
        said = (tmp_path / "second").read_text()
        assert said.startswith("appliance: Another API listens on")
        assert "Traceback" not in said
        client._http.get("/files?token=" + secret)
        client._http.get("/a%0aINFO forged")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    logged = log.read_text()
    assert secret not in logged
    assert "operator by api" in logged
    assert "\nINFO forged" not in logged


def test_what_was_imported_is_not_searched_for_garbage_while_it_serves(settings: Settings, tmp_path: Path) -> None:
    assert settings.dsn is not None
    environment = os.environ | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.dsn.get_secret_value(),
        "APPLIANCE_API_SOCKET": str(tmp_path / "api.sock"),
    }
    # What would serve tells what a collection would look at.
    script = """
import gc, uvicorn
uvicorn.Server.run = lambda server, sockets: print(gc.get_freeze_count(), len(gc.get_objects()))
from appliance.api import serve
serve.main()
"""
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    frozen, searched = map(int, said.stdout.split())
    assert frozen > 50 * searched


def test_a_request_under_way_is_finished_when_the_process_is_told_to_stop(
    settings: Settings, token: Callable[..., str], tmp_path: Path
) -> None:
    path, log, secret = tmp_path / "api.sock", tmp_path / "log", token("operator")
    body = json.dumps({"rows": [ROW], "machine": "mill-1"}).encode()
    head = (
        f"POST /predict?profile=milling HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
    )
    with served(settings, log, APPLIANCE_API_SOCKET=str(path)) as process, Client(path) as client:
        await_ready(client, process, log)
        with socket.socket(socket.AF_UNIX) as request:
            request.settimeout(30)
            request.connect(str(path))
            request.sendall(head.encode())
            assert b"100 Continue" in request.recv(1000)
            process.send_signal(signal.SIGTERM)
            while listens(path):
                time.sleep(0.02)
            request.sendall(body)
            answer = b""
            while piece := request.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"stored":true' in answer
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_who_is_connected_and_not_heard_yet_is_answered_when_the_process_is_told_to_stop(
    settings: Settings, token: Callable[..., str], tmp_path: Path
) -> None:
    path, log, secret = tmp_path / "api.sock", tmp_path / "log", token("operator")
    whoami = f"GET /whoami HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\n\r\n".encode()
    with served(settings, log, APPLIANCE_API_SOCKET=str(path)) as process, Client(path) as client:
        await_ready(client, process, log)
        with ExitStack() as requests:
            waiting = [requests.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(20)]
            for request in waiting:
                request.settimeout(30)
                request.connect(str(path))
            silent = waiting.pop()
            kept = waiting[0]
            kept.sendall(whoami)
            assert kept.recv(65536).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGTERM)
            while listens(path):
                time.sleep(0.02)
            for request in waiting[1:]:
                request.sendall(whoami)
            for request in waiting[1:]:
                assert request.recv(65536).startswith(b"HTTP/1.1 200")
            # Who says nothing does not keep it.
            assert silent.recv(1) == b""
            assert kept.recv(1) == b""
        assert process.wait(30) in (0, -signal.SIGTERM)


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def test_a_stale_socket_is_taken_over_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    settings = Settings(api_socket=path)
    with listen(settings) as listener:
        assert address(listener) == str(path)
    path.unlink()
    path.write_text("mine")
    with pytest.raises(SettingError):
        listen(settings)
    assert path.read_text() == "mine"
    with pytest.raises(SettingError):
        listen(Settings(api_socket=tmp_path / "no" / "folder"))


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with listen(Settings(api_port=0)) as listener:
        url = address(listener)
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(SettingError) as refused:
            listen(Settings(api_port=int(url.rpartition(":")[2])))
        assert "api_port" in refused.value.way_out


def test_without_a_database_setting_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    done = subprocess.run(
        [sys.executable, "-m", "appliance.api"],
        env=environment | {"APPLIANCE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("appliance: No database is set.")
    assert "Traceback" not in done.stderr
