"""The machine that runs the tests: where boxes are kept on it, and how its tools are called."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("APPLIANCE_BOX_CACHE") or Path.home() / ".cache/failure-appliance/box")
BOXES = CACHE / "boxes"
# Of everything on this machine that is ours and has a name: machines, interfaces, control groups, tables of rules.
PREFIX = "fab-"

_CGROUP_ROOT = Path("/sys/fs/cgroup")


class BoxError(RuntimeError):
    """The harness, not the appliance, could not do what a test asked for."""


class Lacking(BoxError):
    """This machine cannot run a box, whatever the appliance does: tests are skipped, and say why."""


def unified() -> Path:
    """Where the second version of control groups is mounted: at the root, or beside the first version."""
    return _CGROUP_ROOT if (_CGROUP_ROOT / "cgroup.procs").exists() else _CGROUP_ROOT / "unified"


def cgroups() -> list[Path]:
    """Each hierarchy in which systemd keeps track of processes."""
    beside = _CGROUP_ROOT / "systemd"
    return [unified(), *([beside] if beside.is_dir() else [])]


def environment() -> dict[str, str]:
    return os.environ | {"PATH": path(), "LC_ALL": "C"}


def call(*command: str | Path, seconds: float = 60, given: str = "", more: Mapping[str, str] | None = None) -> str:
    """What a command prints; BoxError with what it said where it fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment() | dict(more or {}),
        )
    except subprocess.TimeoutExpired:
        raise BoxError(f"{command[0]} did not end within {seconds:g} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise BoxError(f"{' '.join(map(str, command[:6]))} ended with {done.returncode}: {said}")
    return done.stdout


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Look until it holds; BoxError with ``otherwise`` where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BoxError(otherwise)
        time.sleep(0.02)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One session at a time, on this machine, for what has that name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted in a folder, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in reversed(points) if point == folder or folder in point.parents]


def remove(folder: Path) -> None:
    """Remove a folder of ours, after what is mounted in it; BoxError rather than reach through a mount."""
    for point in mounts_below(folder):
        call("umount", point)
    if mounts_below(folder):
        raise BoxError(f"{folder} still holds mounts")
    if folder.exists():
        call("rm", "-rf", "--one-file-system", "--", folder, seconds=300)


def path() -> str:
    """The tools of an administrator are not on everybody's path."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
