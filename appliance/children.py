"""Child processes that end in order with the block that started them, and with its process should that be killed."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

STOP_SECONDS = 20
TERM, KILL = signal.SIGTERM, signal.SIGKILL

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


@contextmanager
def python(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: IO[Any],
    at_death: signal.Signals = TERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python child that ends with the block, and gets ``at_death`` should this process be killed."""
    with program([sys.executable, *arguments], environment, output, at_death) as child:
        yield child


@contextmanager
def program(
    command: Sequence[str], environment: Mapping[str, str], output: IO[Any], at_death: signal.Signals = TERM
) -> Iterator[subprocess.Popen[bytes]]:
    """The same with any program."""
    child = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=lambda: end_with_parent(at_death),
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def end_with_parent(signal_number: signal.Signals = KILL) -> None:
    """In a child, before it becomes its program: have the system end it with its parent."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number)


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does: in order."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
