"""Runs a program that knows nothing of systemd as a service that is watched: who hangs alive is started anew.

Of systemd's services with ``Type=notify``: readiness, signs of life and the end are told for the program, as somebody
who looks at it from outside finds them. Without systemd the program simply takes this process over.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from appliance import systemd

log = logging.getLogger(__name__)

_STARTING_SECONDS = 1.0
_TURNS = 3  # looks in the time after which systemd loses patience
_TOLD_TO_US = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

# What is wrong with the program, in one sentence; None while it does its work, or nothing can be said.
Look = Callable[[], str | None]


def run(command: Sequence[str], environment: Mapping[str, str], look: Look) -> int:
    """Run it until it ends, passing on SIGTERM and SIGINT; its exit code, 128 + signal where one ended it.

    It is ready with the first look that finds no trouble, and lives while no look does. What ``look`` raises counts as
    trouble.
    """
    patience = systemd.watchdog_seconds()
    environment = {name: value for name, value in environment.items() if name not in _TOLD_TO_US}
    if "NOTIFY_SOCKET" not in os.environ:
        os.execvpe(command[0], list(command), environment)
    stopping = False
    process: subprocess.Popen[bytes] | None = None

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        systemd.notify(STOPPING=1)
        if process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = subprocess.Popen(command, env=environment)
        if stopping:
            process.terminate()
        _watch(process, look, patience / _TURNS if patience else None)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(process: subprocess.Popen[bytes], look: Look, seconds: float | None) -> None:
    ready = False
    while True:
        try:
            process.wait(seconds if ready else _STARTING_SECONDS)
            return
        except subprocess.TimeoutExpired:
            pass
        if trouble := _trouble(look):
            if ready:
                log.error("not well, and systemd will know: %s", trouble)
            systemd.notify(STATUS=trouble)
        elif ready:
            systemd.notify(WATCHDOG=1, STATUS="At work")
        else:
            ready = True
            systemd.notify(READY=1, STATUS="At work")


def _trouble(look: Look) -> str | None:
    try:
        return look()
    except Exception as error:  # a look must not end what it looks at
        return f"It cannot be looked at ({type(error).__name__}: {error})."
