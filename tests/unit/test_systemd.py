"""What a service tells its manager and is handed by it, with real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_what_is_told_arrives_as_one_message(manager: socket.socket) -> None:
    systemd.notify(READY=1, STATUS="Serving milling\nMAINPID=1")
    assert manager.recv(1000) == b"READY=1\nSTATUS=Serving milling MAINPID=1"


def test_an_abstract_address_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"appliance-tests-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify(WATCHDOG=1)
        assert manager.recv(1000) == b"WATCHDOG=1"


def test_without_a_manager_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify(READY=1)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify(READY=1)


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("60000000", None, 60.0),
        ("1500000", "ours", 1.5),
        ("1500000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_ours_or_is_not(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, seconds: float | None
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
    assert systemd.watchdog_seconds() == seconds


def test_sockets_are_taken_once_and_kept_from_children() -> None:
    script = (
        "import os, subprocess, sys\nfrom appliance import systemd\n"
        "first, second = systemd.listeners()\n"
        "assert systemd.listeners() == []\n"
        "child = 'import os; print([n for n in os.environ if n.startswith(\"LISTEN_\")]);'\n"
        'child += \'print(os.path.exists("/proc/self/fd/3") and os.readlink("/proc/self/fd/3"))\'\n'
        "print(first.getsockname(), second.getsockname(), flush=True)\n"
        "subprocess.run([sys.executable, '-c', child], close_fds=False, check=True)"
    )
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        said = _started_with([one, two], script)
        assert said[0] == f"{one.getsockname()} {two.getsockname()}"
    assert said[1] == "[]"
    assert "socket:" not in said[2]


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert systemd.listeners() == []


def _started_with(sockets: list[socket.socket], script: str) -> list[str]:
    """Lines that a process prints which was handed these sockets, as systemd hands them."""
    numbers = [each.fileno() for each in sockets]
    take = " ".join(f"{3 + place}<&{number}" for place, number in enumerate(numbers))
    line = f'exec env LISTEN_PID=$$ LISTEN_FDS={len(numbers)} "$@" {take}'
    done = subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, "-c", script],
        pass_fds=numbers,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
