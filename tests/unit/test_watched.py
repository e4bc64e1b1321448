"""A program that knows nothing of systemd, watched: real processes, and the manager's end of the socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Its work is a file that it keeps; it hangs alive when told to, and says goodbye when it may.
PROGRAM = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def bye(*_):
    (folder / "bye").touch()
    sys.exit(7)
signal.signal(signal.SIGTERM, bye)
assert "NOTIFY_SOCKET" not in os.environ
(folder / "pid").write_text(str(os.getpid()))
(folder / "well").touch()
while True:
    time.sleep(0.05)
"""
WATCHER = """
import os, pathlib, sys
from appliance import watched
folder = pathlib.Path(sys.argv[1])
def look():
    if (folder / "blind").exists():
        raise OSError("no way in")
    return None if (folder / "well").exists() else "It lies down."
sys.exit(watched.run([sys.executable, "-c", sys.argv[2], str(folder)], os.environ, look))
"""


class Watched:
    """The watcher of the program, and what it tells its manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        self._told.settimeout(20)
        more = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "300000"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCHER, str(folder), PROGRAM], env=os.environ | more, stderr=subprocess.DEVNULL
        )

    def until(self, word: str) -> str:
        """The next message that has the word."""
        while word not in (message := self._told.recv(4096).decode()):
            pass
        return message

    def silence(self, word: str, seconds: float) -> bool:
        """Whether no message of that time has the word."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if word in self._told.recv(4096).decode():
                return False
        return True

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._told.close()
        pid = self.folder / "pid"
        if pid.exists() and Path("/proc", pid.read_text()).exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.close()


def test_it_is_ready_alive_and_told_to_stop(watched: Watched) -> None:
    watched.until("READY=1")
    watched.until("WATCHDOG=1")
    watched.process.send_signal(signal.SIGTERM)
    watched.until("STOPPING=1")
    assert watched.process.wait(20) == 7
    assert (watched.folder / "bye").exists()


@pytest.mark.parametrize(("sign", "sentence"), [("well", "It lies down."), ("blind", "OSError: no way in")])
def test_one_that_hangs_alive_gives_no_sign_of_life_until_it_is_well_again(
    watched: Watched, sign: str, sentence: str
) -> None:
    watched.until("WATCHDOG=1")
    well, blind = watched.folder / "well", watched.folder / "blind"
    if sign == "well":
        well.unlink()
    else:
        blind.touch()
    assert sentence in watched.until("STATUS=It ")
    assert watched.silence("WATCHDOG=1", 1.0)
    well.touch()
    blind.unlink(missing_ok=True)
    watched.until("WATCHDOG=1")


def test_one_that_is_killed_is_not_hidden(watched: Watched) -> None:
    watched.until("READY=1")
    os.kill(int((watched.folder / "pid").read_text()), signal.SIGKILL)
    assert watched.process.wait(20) == 128 + signal.SIGKILL


def test_without_a_manager_the_program_takes_over(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    watcher = [sys.executable, "-c", WATCHER, str(tmp_path), "import os; print(os.getpid()); raise SystemExit(3)"]
    done = subprocess.Popen(watcher, env=environment, stdout=subprocess.PIPE, text=True)
    said, _ = done.communicate(timeout=30)
    assert (int(said), done.returncode) == (done.pid, 3)
