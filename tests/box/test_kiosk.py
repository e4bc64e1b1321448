"""The screen in the hall on a box: real units, X server and Chromium.

Two things are stand-ins, and named so: a small server in the place of Grafana, of which Debian has no package, and X's
dummy driver in the place of a graphics card, for a box in a container has none. How it looks on a monitor, and that its
keyboard is dead there, is for whoever plugs one in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import host, made
from tests.box.box import Box
from tests.box.installed import Installed
from tests.box.playbook import NAMES, Playbook

pytestmark = pytest.mark.box

STAND_IN = "grafana-stand-in"
SEEN = "/run/grafana-stand-in"
PAGE = "/d/appliance-kiosk?kiosk&autofitpanels"
# It notes what it is asked for; its page tells how much of the monitor it has.
SERVER = f"""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
PAGE = b'''<!doctype html><title>Stand-in</title><script>
addEventListener("load", () => setTimeout(() => fetch(`/seen/${{innerWidth}}x${{innerHeight}}/${{screen.width}}x${{screen.height}}`), 2000))
</script>'''
class StandIn(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/api/health":
            with open("{SEEN}", "a") as log:
                print(self.path, file=log)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)
ThreadingHTTPServer(("127.0.0.1", 3000), StandIn).serve_forever()
"""
MONITOR = """
Section "Device"
    Identifier "stand-in"
    Driver "dummy"
    VideoRam 32768
EndSection
Section "Monitor"
    Identifier "stand-in"
    HorizSync 5.0 - 1000.0
    VertRefresh 5.0 - 200.0
    Modeline "1920x1080" 148.50 1920 2008 2052 2200 1080 1084 1089 1125 +hsync +vsync
EndSection
Section "Screen"
    Identifier "stand-in"
    Device "stand-in"
    Monitor "stand-in"
    DefaultDepth 24
    SubSection "Display"
        Depth 24
        Modes "1920x1080"
    EndSubSection
EndSection
"""


@pytest.fixture(scope="module")
def playbook(installed: Installed, desk: Path) -> Iterator[Playbook]:
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        box.run("apt-get update -qq", seconds=180)
        box.run("apt-get install -qq -y --no-install-recommends xserver-xorg-video-dummy >/dev/null", seconds=300)
        box.run("mkdir -p /etc/X11/xorg.conf.d && cat > /etc/X11/xorg.conf.d/50-stand-in.conf", given=MONITOR)
        box.run("cat > /usr/local/lib/stand-in.py", given=SERVER)
        serve(box)
        playbook = Playbook(box, desk, **NAMES, kiosk_screen=True)
        playbook.run("--tags", "kiosk")
        yield playbook


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


def serve(box: Box) -> None:
    box.run(f"systemd-run --quiet --collect --unit={STAND_IN} python3 /usr/local/lib/stand-in.py")


def opened(box: Box) -> int:
    """How often the dashboard was loaded."""
    return box.run(f"cat {SEEN}", check=False).out.split().count(PAGE)


def await_opened(box: Box, count: int, seconds: float = 90) -> None:
    host.wait_for(
        lambda: opened(box) >= count,
        seconds,
        f"it was not opened: {box.run('journalctl -u appliance-kiosk -u appliance-display -n 80 --no-pager -o cat').out}",
    )


def browser(box: Box, kind: str = "") -> str:
    """A process of Chromium: the first one, or one of its helpers."""
    what = f"'type={kind}'" if kind else "'chromium.*--kiosk'"
    return box.run(f"pgrep --oldest --uid appliance-kiosk --full {what}").out.strip()


def test_the_dashboard_fills_the_monitor(box: Box) -> None:
    await_opened(box, 1)
    # Chromium leaves a last line of pixels, so that no window manager takes it for what it does not want to be.
    full = "/seen/1919x1079/1920x1080"
    host.wait_for(lambda: full in box.run(f"cat {SEEN}").out, 30, f"seen was {box.run(f'cat {SEEN}').out}")
    assert box.state() == ("running", [])


def test_a_second_run_changes_nothing(playbook: Playbook) -> None:
    again = playbook.run("--tags", "kiosk")
    assert (again.changes, again.counts["changed"], again.counts["failed"]) == ([], 0, 0)


def test_browser_and_display_come_back_when_they_were_killed(box: Box) -> None:
    for kill in (f"kill -KILL {browser(box)}", "systemctl kill --signal=KILL appliance-display", "systemctl kill --signal=KILL appliance-kiosk"):  # fmt: skip
        before = opened(box)
        box.run(kill)
        await_opened(box, before + 1)


def test_a_monitor_that_went_dark_is_lit_again(box: Box) -> None:
    inside = f"nsenter --target {browser(box)} --mount env DISPLAY=:7 xrandr"
    outputs = box.run(f"{inside} --current").out
    assert "1920x1080+0+0" in outputs
    output = next(line.split()[0] for line in outputs.splitlines() if " connected" in line)
    box.run(f"{inside} --output {output} --off")
    host.wait_for(lambda: "1920x1080+0+0" in box.run(f"{inside} --current").out, 60, "the monitor stays dark")


def test_while_dashboards_are_away_the_screen_says_so(box: Box) -> None:
    def said() -> str:
        return box.run("systemctl show --property StatusText --value appliance-kiosk").out.strip()

    box.run(f"systemctl stop {STAND_IN}")
    host.wait_for(lambda: said() == "Says that dashboards are away", 60, "it shows figures that nobody renews")
    assert "No data on this screen" in box.run(f"cat /proc/{browser(box)}/root/tmp/kiosk-*/away.html").out
    before = opened(box)
    serve(box)
    await_opened(box, before + 1)
    assert said() == "Shows the dashboard"


def test_nobody_types_into_it_and_it_stays_on(box: Box) -> None:
    said = box.run("cat /run/appliance-display/log").out
    assert "Using input driver" not in said
    main = box.run("systemctl show --property MainPID --value appliance-display").out.strip()
    assert box.run(f"nsenter --target {main} --mount ls /dev/input", check=False).out == ""
    assert 'Extension "DPMS" is disabled' in said


def test_only_the_browser_finds_the_display(box: Box) -> None:
    assert box.run("ls /tmp/.X11-unix/X7", check=False).code != 0
    assert "@/tmp/.X11-unix" not in box.run("ss --no-header --listening --unix").out
    main = browser(box)
    assert box.run(f"nsenter --target {main} --mount ls /tmp/.X11-unix/X7").code == 0
    for folder in ("/etc/appliance", "/var/lib/appliance", "/home/admin"):
        line = f"nsenter --target {main} --mount --setgid 65534 --setuid 65534 ls {folder}"
        assert box.run(line, check=False).code != 0, folder


def test_the_browser_locks_pages_up_and_opens_no_other(box: Box) -> None:
    page, main = browser(box, "renderer"), browser(box)
    rooms = box.run(f"readlink /proc/{page}/ns/user /proc/{main}/ns/user /proc/1/ns/user").out.split()
    assert len(set(rooms)) == 3
    assert "Seccomp:\t2" in box.run(f"cat /proc/{page}/status").out
    assert "--no-sandbox" not in box.run(f"tr '\\0' ' ' < /proc/{main}/cmdline").out
    allowed = json.loads(box.run("cat /etc/chromium/policies/managed/appliance-kiosk.json").out)
    assert (allowed["URLBlocklist"], allowed["URLAllowlist"][0]) == (["*"], "http://127.0.0.1:3000")
