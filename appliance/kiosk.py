"""The screen in the hall as a service of systemd: ``python -m appliance.kiosk PAGE [COMMAND...]`` keeps a browser before PAGE.

A browser goes on showing the last figures of a server that went away, and nobody in the hall can tell. So the server is
asked here, and while it does not answer the screen says that instead; when it is back the page is loaded anew. A browser
that ended is started again, and each is for a day at most, because they grow. Without a window manager nobody tells a
browser how large the monitor is, so that is done here too. Nothing but the standard library is loaded: this process stays
as long as the screen does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from appliance import answers, children, monitor, systemd

CHROMIUM = (
    "/usr/bin/chromium",
    "--kiosk",
    "--window-position=0,0",
    # Nothing that wants an answer: nobody could give one.
    "--no-first-run",
    "--no-default-browser-check",
    "--noerrdialogs",
    "--disable-session-crashed-bubble",
    "--password-store=basic",
    # Nothing leaves the box.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-domain-reliability",
    "--disable-breakpad",
    # A few figures every ten seconds need no graphics card, whose drivers would need doors opened.
    "--disable-gpu",
    "--disk-cache-size=33554432",
)
_LOOK_SECONDS = 5.0
# Whoever is back before so many looks was only started anew: panels say by themselves what they missed.
_PATIENCE = 3
_DAY_SECONDS = 86_400.0
_END_SECONDS = 5.0
_NOTICE = """<!doctype html>
<meta charset="utf-8">
<title>No data</title>
<style>
body {{ background: #111; color: #eee; font: 4vw sans-serif; display: grid; place-content: center; height: 95vh; text-align: center }}
p {{ font-size: 2.2vw; color: #bbb }}
</style>
<body>No data on this screen<p>The dashboards have not answered since {since}.<br>They come back here by themselves.
<br>If they do not: <code>sudo appliance doctor</code> on {box}.
"""


def main(arguments: Sequence[str]) -> int:
    page, *command = arguments
    with children.terminating(), suppress(KeyboardInterrupt):
        show(page, command or CHROMIUM)
    return 0


def show(page: str, command: Sequence[str]) -> None:
    """Keep a browser before the page for good. KeyboardInterrupt ends it, browser and all."""
    health = f"{urlsplit(page).scheme}://{urlsplit(page).netloc}/api/health"
    missed, since = _PATIENCE, time.strftime("%H:%M")
    browser: Browser | None = None
    systemd.notify(READY=1)
    try:
        while True:
            if answers.status(health) == 200:
                missed, wanted = 0, page
            else:
                missed += 1
                since = time.strftime("%H:%M") if missed == 1 else since
                wanted = "" if missed >= _PATIENCE or browser is None else browser.page
            size = monitor.size()
            if browser is not None and (browser.spent() or (browser.page, browser.size) != (wanted, size)):
                browser.end()
                browser = None
            if browser is None and size is not None:
                browser = Browser(command, wanted, size, since)
            systemd.notify(WATCHDOG=1, STATUS=_said(browser))
            if browser is not None:
                browser.rest(_LOOK_SECONDS)
            else:
                time.sleep(_LOOK_SECONDS)
    finally:
        if browser is not None:
            browser.end()


def _said(browser: Browser | None) -> str:
    if browser is None:
        return "Waits for the display"
    return "Shows the dashboard" if browser.page else "Says that dashboards are away"


class Browser:
    """One process with a folder of its own, so that it remembers nothing; it shows ``page``, or for '' that there is none."""

    def __init__(self, command: Sequence[str], page: str, size: tuple[int, int], since: str) -> None:
        self.page = page
        self.size = size
        self._began = time.monotonic()
        self._folder = TemporaryDirectory(prefix="kiosk-", ignore_cleanup_errors=True)
        address = page
        if not page:
            notice = Path(self._folder.name, "away.html")
            notice.write_text(_NOTICE.format(since=since, box=escape(os.uname().nodename)), encoding="utf-8")
            address = notice.as_uri()
        words = [*command, "--window-size={},{}".format(*size), f"--user-data-dir={self._folder.name}/profile", address]
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        self._process = subprocess.Popen(
            words,
            env=environment | {"HOME": self._folder.name},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=children.end_with_parent,
        )

    def spent(self) -> bool:
        """Whether it ended, or has been there for long enough."""
        return self._process.poll() is not None or time.monotonic() - self._began > _DAY_SECONDS

    def rest(self, seconds: float) -> None:
        """Wait so long, or until it ends; not less right after it began, or one that cannot start would be tried all the time."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            time.sleep(max(0.0, self._began + seconds - time.monotonic()))

    def end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The helpers of a browser that was killed are of its group still.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        self._folder.cleanup()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
