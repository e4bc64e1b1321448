"""The screen in the hall: a real process that keeps a browser, played by a script, before a server that comes and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

KEEPER = """
import sys
from appliance import kiosk, monitor
kiosk._LOOK_SECONDS, kiosk._END_SECONDS = 0.1, 1.0
kiosk._DAY_SECONDS, monitor.XRANDR = float(sys.argv[1]), ("cat", sys.argv[2], "--")
sys.exit(kiosk.main(sys.argv[3:]))
"""
# Notes what it was given and where, with a helper as browsers have; it ends when told to.
BROWSER = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
assert "NOTIFY_SOCKET" not in os.environ
helper = subprocess.Popen(["sleep", "600"])
address = sys.argv[-1]
size = next(word for word in sys.argv if word.startswith("--window-size="))
text = pathlib.Path(address.removeprefix("file://")).read_text() if address.startswith("file://") else ""
with (folder / "shown").open("a") as log:
    log.write(f"{os.getpid()} {helper.pid} {os.environ['HOME']} {address} {size} {' '.join(text.split())}\\n")
time.sleep(600)
"""
SAID = """Screen 0: minimum 320 x 200, current {width} x {height}, maximum 16384 x 16384
HDMI-1 connected primary {width}x{height}+0+0 (normal left inverted right x axis y axis) 509mm x 286mm
   1920x1080     60.00*+  50.00
DP-1 disconnected (normal left inverted right x axis y axis)
"""


class Screen:
    def __init__(self, folder: Path, port: int, *, day: float = 600.0, browser: str = BROWSER) -> None:
        self.folder = folder
        self.page = f"http://127.0.0.1:{port}/d/appliance-kiosk?kiosk&autofitpanels"
        command = [sys.executable, "-c", browser, str(folder)]
        self.plug(1920, 1080)
        self.keeper = subprocess.Popen([sys.executable, "-c", KEEPER, str(day), str(self.monitor), self.page, *command])

    @property
    def monitor(self) -> Path:
        return self.folder / "monitor"

    def plug(self, width: int, height: int) -> None:
        part = self.folder / "monitor.part"
        part.write_text(SAID.format(width=width, height=height))
        part.rename(self.monitor)

    def shown(self) -> list[list[str]]:
        """What browsers were given: process, helper, home, address, size, and the text where it was a file."""
        try:
            return [line.split(" ", 5) for line in (self.folder / "shown").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def until(self, count: int) -> list[str]:
        wait(lambda: len(self.shown()) >= count)
        return self.shown()[count - 1]

    def end(self) -> int:
        self.keeper.terminate()
        return self.keeper.wait(20)


def wait(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: str) -> None:
    """It was told to end before; on a busy machine that takes a moment."""
    wait(lambda: not alive(pid))


class Dashboards:
    """A server that is well while ``status`` is 200; ``away`` closes its door."""

    def __init__(self) -> None:
        self.status = 200
        with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
            self.port = int(probe.server_address[1])

    @contextmanager
    def there(self) -> Iterator[None]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(outer.status if self.path == "/api/health" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def dashboards() -> Dashboards:
    return Dashboards()


@pytest.fixture
def started(tmp_path: Path, dashboards: Dashboards) -> Iterator[Callable[..., Screen]]:
    screens: list[Screen] = []

    def start(**more: object) -> Screen:
        screens.append(Screen(tmp_path, dashboards.port, **more))  # type: ignore[arg-type]
        return screens[-1]

    yield start
    for screen in screens:
        screen.keeper.kill()
        screen.keeper.wait()
        for pid, helper, *_ in screen.shown():
            for one in (pid, helper):
                if alive(one):
                    os.kill(int(one), signal.SIGKILL)


def test_the_screen_never_shows_figures_that_nobody_renews(
    started: Callable[..., Screen], dashboards: Dashboards
) -> None:
    with dashboards.there():
        screen = started()
        assert screen.until(1)[3] == screen.page
    pid, helper, home, address, _, text = screen.until(2)
    assert address.startswith(f"file://{home}/")
    assert "No data on this screen" in text
    gone(screen.shown()[0][0])
    gone(screen.shown()[0][1])
    with dashboards.there():
        assert screen.until(3)[3] == screen.page
        gone(pid)
        gone(helper)
        assert not Path(home).exists()
        # A server that answers, and is not well, is as good as away.
        dashboards.status = 503
        assert screen.until(4)[3].startswith("file://")


def test_before_there_is_anything_to_show_it_says_so(started: Callable[..., Screen], dashboards: Dashboards) -> None:
    screen = started()
    assert screen.until(1)[3].startswith("file://")
    with dashboards.there():
        assert screen.until(2)[3] == screen.page


def test_a_browser_that_died_is_started_again_and_none_grows_old(
    started: Callable[..., Screen], dashboards: Dashboards
) -> None:
    with dashboards.there():
        screen = started(day=3.0)
        os.kill(int(screen.until(1)[0]), signal.SIGKILL)
        second = screen.until(2)
        assert second[3] == screen.page
        gone(screen.shown()[0][1])  # its helpers went with it
        third = screen.until(3)
        assert third[3] == screen.page
        assert third[2] != second[2]
        gone(second[0])


def test_a_browser_is_as_large_as_the_monitor_and_waits_for_one(
    started: Callable[..., Screen], dashboards: Dashboards
) -> None:
    with dashboards.there():
        screen = started()
        pid, *_, size, _ = screen.until(1)
        assert size == "--window-size=1920,1080"
        screen.plug(1280, 720)
        assert screen.until(2)[4] == "--window-size=1280,720"
        gone(pid)
        screen.monitor.unlink()
        wait(lambda: not alive(screen.shown()[1][0]))
        assert len(screen.shown()) == 2
        screen.plug(1280, 720)
        assert screen.until(3)[3] == screen.page


def test_a_browser_that_cannot_start_is_not_tried_all_the_time(
    started: Callable[..., Screen], dashboards: Dashboards, tmp_path: Path
) -> None:
    note = "import pathlib, sys; (pathlib.Path(sys.argv[1]) / 'tries').open('a').write('x')"
    with dashboards.there():
        screen = started(browser=note)
        wait(lambda: (tmp_path / "tries").exists() and len((tmp_path / "tries").read_text()) >= 2)
        began, before = time.monotonic(), len((tmp_path / "tries").read_text())
        time.sleep(1.0)
        tries = len((tmp_path / "tries").read_text()) - before
        assert tries <= (time.monotonic() - began) / 0.1 + 1
        assert screen.end() == 0


def test_it_ends_in_order_and_takes_the_browser_with_it(started: Callable[..., Screen], dashboards: Dashboards) -> None:
    with dashboards.there():
        screen = started()
        pid, helper, home, *_ = screen.until(1)
        assert screen.end() == 0
        gone(pid)
        gone(helper)
        assert not Path(home).exists()
