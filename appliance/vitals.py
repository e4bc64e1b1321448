"""How the box itself is doing, as figures: kept once a minute by the API in the table ``metric``, for ``run_days``.

==============================================  ================================================================
``box_cpu_share``, ``box_load``                 of all cores since the last look, 0 to 1; processes that want one
``box_memory_share``, ``box_swap_bytes``        memory that is not to be had, 0 to 1; what was moved to the disk
``box_disk_bytes``, ``box_disk_free_bytes``     the disk of the data folder
``box_database_bytes``                          our database
``box_faults``, ``box_warnings``                what the doctor finds
``backlog_parts``, ``backlog_rows``             what waits for a prediction, ``backlog_seconds`` for how long
``backlog_failed``                              parts that were given up
``bucket_waiting``, ``_waiting_bytes``          what waits for S3, where a bucket is set, and
``bucket_waiting_seconds``                      for how long the oldest does
``api_memory_bytes``                            of the API's process
``api_requests``, ``api_errors``                requests of the minute, and those that we failed (5xx)
``api_seconds_p50``, ``_p95``, ``_most``        how long they took; not kept for a minute without any
==============================================  ================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import psutil

from appliance.checks.base import Fault

# Of a minute with more requests than this, only the last ones are looked at for how long they took.
_MOST_TIMES = 20_000


@dataclass(slots=True)
class Minute:
    """What was asked of the API since the last look; may be shared by threads."""

    _requests: int = 0
    _errors: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_TIMES))
    _lock: Lock = field(default_factory=Lock)

    def request(self, status: int, seconds: float) -> None:
        with self._lock:
            self._requests += 1
            self._errors += status >= 500
            self._seconds.append(seconds)

    def take(self) -> dict[str, float]:
        """The figures, which begin anew with this."""
        with self._lock:
            requests, errors, seconds = self._requests, self._errors, sorted(self._seconds)
            self._requests = self._errors = 0
            self._seconds.clear()
        found = {"api_requests": float(requests), "api_errors": float(errors)}
        if seconds:
            found |= {"api_seconds_p50": _at(seconds, 0.5), "api_seconds_p95": _at(seconds, 0.95)}
            found["api_seconds_most"] = seconds[-1]
        return found


def machine(folder: Path) -> dict[str, float]:
    """Of the machine, and of the disk that ``folder`` lies on; what the system does not tell is left out."""
    while not folder.exists():
        folder = folder.parent
    found: dict[str, float] = {}
    looks: Sequence[Callable[[], Mapping[str, float]]] = (
        lambda: {"box_cpu_share": psutil.cpu_percent() / 100},
        lambda: {"box_load": psutil.getloadavg()[0]},
        lambda: {"box_memory_share": psutil.virtual_memory().percent / 100},
        lambda: {"box_swap_bytes": float(psutil.swap_memory().used)},
        lambda: {"api_memory_bytes": float(psutil.Process().memory_info().rss)},
        lambda: _disk(folder),
    )
    for look in looks:
        # Some kernels and locked-in services show less than others.
        try:
            found |= look()
        except (OSError, RuntimeError, psutil.Error):
            continue
    return found


def waiting(backlog: Mapping[str, float]) -> dict[str, float]:
    """Of what :func:`appliance.store.queries.backlog` gives."""
    names = {
        "parts_waiting": "backlog_parts",
        "rows_waiting": "backlog_rows",
        "parts_failed": "backlog_failed",
        "oldest_waiting_seconds": "backlog_seconds",
    }
    return {mine: backlog.get(name, 0.0) for name, mine in names.items()}


def found(faults: Sequence[Fault]) -> dict[str, float]:
    serious = sum(fault.severity == "fault" for fault in faults)
    return {"box_faults": float(serious), "box_warnings": float(len(faults) - serious)}


def _disk(folder: Path) -> dict[str, float]:
    disk = psutil.disk_usage(str(folder))
    return {"box_disk_bytes": float(disk.total), "box_disk_free_bytes": float(disk.free)}


def _at(ascending: Sequence[float], share: float) -> float:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)]
