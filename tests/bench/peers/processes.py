"""Programs of peers as processes: started, waited for, and ended with all that they started."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench.peers.environments import CannotBeHad

START_SECONDS = 120.0
END_SECONDS = 15.0
_SAID = 400


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(words: Sequence[str], port: int, env: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The process id of a server that listens on ``port``; it works in ``folder``, where it may write."""
    log = folder / "said"
    with log.open("wb") as said:
        process = psutil.Popen(
            list(words), env=dict(env), cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotBeHad(f"it did not start: {log.read_text(errors='replace')[-_SAID:].strip()}")
            time.sleep(0.1)
        yield int(process.pid)
    finally:
        _end(process)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end(process: psutil.Popen) -> None:
    """Servers leave children behind that have groups and sessions of their own."""
    with suppress(psutil.NoSuchProcess):
        tree = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=END_SECONDS)
        for one in alive:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(alive, timeout=END_SECONDS)
    process.wait()
