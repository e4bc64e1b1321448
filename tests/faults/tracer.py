"""Counts the calls by which a child process changes something outside of itself, and stops before the n-th of them, or
lets it fail.

A seccomp filter in the child hands those few calls to its tracer and lets all others pass at full speed. Unlike
injections by strace, which count by thread and by name, this counts over all threads and all names: the n-th call of
the process is the n-th call, whichever worker of Polars makes it. Nothing needs to be installed, and no right beyond
tracing one's own child. The kernel ends the child with its tracer.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import calls, failing
from tests.faults.calls import Call
from tests.faults.ptracing import ptrace

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.prctl.argtypes = (ctypes.c_int, *[ctypes.c_void_p] * 4)

_TRACEME, _CONT, _SETOPTIONS, _SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_FORKS, _SECCOMP, _EXITKILL = 0x02 | 0x04 | 0x08, 0x80, 0x100000
_EVENT_SECCOMP = 7
_WALL = 0x40000000
_INFO_BYTES = 88

Body = Callable[[], None]
# What to do before the call at which a run was to stop: None kills it, 0 lets it go on, another number is the error with
# which the call fails, without being made.
AtStop = Callable[[Call], int | None]


@dataclass(slots=True)
class Ended:
    """How a child ended: ``killed_by`` is the call that it did not get to make, ``failed`` the one that failed; ``code``
    is None where it was killed."""

    code: int | None = None
    killed_by: Call | None = None
    failed: Call | None = None
    made: list[Call] = field(default_factory=list)


def run(body: Body, stop_at: int = 0, at_stop: AtStop = lambda call: None, seconds: float = 60) -> Ended:
    """Run ``body`` in a child; before its ``stop_at``-th counted call (0: never), ask ``at_stop``.

    TimeoutError where it does not end within that time; the child is dead then.
    """
    pid = os.fork()
    if pid == 0:
        _child(body)
    deadline = time.monotonic() + seconds
    try:
        return _follow(pid, stop_at, at_stop, deadline)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        while os.waitpid(-1, _WALL)[0] != pid:
            pass
        raise


def _child(body: Body) -> None:
    code = 70
    try:
        ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        calls.filter_calls(_LIBC)
        body()
        code = 0
    finally:
        os._exit(code)


def _follow(pid: int, stop_at: int, at_stop: AtStop, deadline: float) -> Ended:
    ended = Ended()
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        raise PermissionError("the child may not be traced")
    ptrace(_SETOPTIONS, pid, 0, _FORKS | _SECCOMP | _EXITKILL)
    ptrace(_CONT, pid)
    while True:
        task, status = _wait(deadline)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if task == pid:
                ended.code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
                return ended
            continue
        give = 0
        if status >> 16 == _EVENT_SECCOMP:
            call = _call(task)
            if call is not None:
                ended.made.append(call)
                if len(ended.made) == stop_at:
                    error = at_stop(call)
                    if error is None:
                        ended.killed_by = ended.made.pop()
                        _kill_all(pid)
                        continue
                    if error:
                        ended.failed = call
                        failing.fail(task, call, error)
        elif status >> 16 == 0 and os.WSTOPSIG(status) not in (signal.SIGSTOP, signal.SIGTRAP):
            give = os.WSTOPSIG(status)
        with suppress(ProcessLookupError):
            ptrace(_CONT, task, 0, give)


def _kill_all(pid: int) -> None:
    """The child, and the programs that it started, as a power cut would."""
    mine = f"TracerPid:\t{os.getpid()}\n"
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if mine in (folder / "status").read_text():
                    os.kill(int(folder.name), signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait(deadline: float) -> tuple[int, int]:
    """The next change of any task; asleep in the kernel as long as there is none, woken by an alarm at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the child did not end in time")
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        return os.waitpid(-1, _WALL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _call(task: int) -> Call | None:
    info = ctypes.create_string_buffer(_INFO_BYTES)
    try:
        ptrace(_SYSCALL_INFO, task, _INFO_BYTES, ctypes.addressof(info))
    except ProcessLookupError:
        return None
    number, *arguments = struct.unpack_from("=7Q", info.raw, 24)
    return calls.described(task, number, arguments)
