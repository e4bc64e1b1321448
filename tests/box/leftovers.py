"""Boxes whose session was killed: everything of theirs is found by name and put away."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.box import host, network
from tests.box.host import BOXES, PREFIX, BoxError


@contextmanager
def owning(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Own a box until the end of the block, or of this process; False where another does and is not waited for."""
    with (folder / "owner").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def sweep() -> list[str]:
    """Put away every box on this machine that has no owner any more; their names."""
    gone = []
    with host.locked("boxes"):
        for folder in sorted(BOXES.glob(f"{PREFIX}*")):
            with suppress(FileNotFoundError), owning(folder) as mine:
                if mine:
                    put_away(folder)
                    gone.append(folder.name)
    return gone


def put_away(folder: Path) -> None:
    """End the box in a folder and leave nothing of it: processes, rules, interface, mounts, files."""
    kill(folder.name)
    if cable := network.of(folder):
        cable.remove()
    host.remove(folder)


def kill(name: str) -> None:
    """End every process of a box at once, as a power cut does."""
    group = host.unified() / name
    if not group.is_dir():
        return
    (group / "cgroup.kill").write_text("1")
    host.wait_for(lambda: "populated 0" in (group / "cgroup.events").read_text(), 20, f"processes of {name} live on")
    for hierarchy in host.cgroups():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            with suppress(OSError, BoxError):
                host.wait_for(lambda folder=folder: _removed(Path(folder)), 1, f"{folder} stays")  # type: ignore[misc]


def _removed(group: Path) -> bool:
    """A group is busy for a moment after its last process."""
    with suppress(OSError):
        group.rmdir()
    return not group.exists()
