"""The machine that was measured, and how much of it others took meanwhile."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def facts() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


class Others:
    """What programs other than these processes, and what those start, take of the CPU from now on."""

    def __init__(self, *ours: int) -> None:
        self._ours = ours
        self._start = time.monotonic(), self._taken()

    def share(self) -> float:
        """Of all cores, 0 to 1."""
        wall, taken = time.monotonic() - self._start[0], self._taken() - self._start[1]
        return max(0.0, taken) / (wall * len(os.sched_getaffinity(0)))

    def _taken(self) -> float:
        return busy_seconds() - tree_seconds(*self._ours, *_kernel())


def peak_mib(pid: int | str = "self") -> float:
    """The most memory that the process ever held (VmHWM)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def busy_seconds() -> float:
    """CPU seconds that all processes of this machine, and its host's other guests, have taken from it."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, soft, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def tree_seconds(*roots: int) -> float:
    """CPU seconds of these processes, what they started, and what of that has ended."""
    tick = os.sysconf("SC_CLK_TCK")
    total, open_, seen = 0.0, list(roots), set[int]()
    while open_:
        pid = open_.pop()
        if pid in seen:
            continue  # named, and started by one that is named too
        seen.add(pid)
        try:
            # The name in brackets may hold blanks.
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(word) for word in words[11:15]) / tick
        open_ += children(pid)
    return total


def children(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in thread.read_text().split()]
        except OSError:
            continue
    return found


def _kernel() -> list[int]:
    """The kernel's own threads: what they write back is our doing as well as anybody's."""
    try:
        return [2] if Path("/proc/2/comm").read_text().strip() == "kthreadd" else []
    except OSError:
        return []


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()
