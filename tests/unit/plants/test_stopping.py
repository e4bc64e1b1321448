"""Whoever plays a plant stops when told, however often and whenever that is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

_WAITS = """
from model.plants.stopping import BySignals
stop = BySignals()
print("ready", flush=True)
while not stop.wait(0.0005):
    pass
for _ in range(300):  # the rest of its work, in which more signals come
    stop.wait(0.001)
    sum(range(10_000))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_under_a_hail_of_signals(number: signal.Signals) -> None:
    """An event of threads waits for itself here, sooner or later."""
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(400):
            process.send_signal(number)
            time.sleep(0.0002)
        try:
            said, _ = process.communicate(timeout=30)
        finally:
            process.kill()
        assert said == "stopped\n"
        # What comes while Python itself is ending ends it as it does any program.
        assert process.returncode in (0, -number)


def test_waiting_ends_with_the_time_and_at_once_when_told() -> None:
    script = """
import os, signal, threading, time
from model.plants.stopping import BySignals
stop = BySignals()
assert not stop.is_set() and not stop.wait(0.01)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
began = time.monotonic()
assert stop.wait(60) and stop.is_set() and stop.wait(60)
assert time.monotonic() - began < 30
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
