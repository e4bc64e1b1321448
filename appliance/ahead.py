"""The next part of a file is read and scored while the one before it is stored: the former is our work, the latter
PostgreSQL's, and a box has two cores.

What comes out depends on the file and the model alone, so it is the same whenever it was worked out. Windows look back at
rows that have to be stored first: where a profile has them, nothing can be done ahead.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl

from appliance import scored
from appliance.outputs import read_part
from appliance.scored import Scored
from appliance.serving import Served
from appliance.settings import Settings
from appliance.store.rows import Part

log = logging.getLogger(__name__)

# Who has not asked for it by then will not: some 30 MB are let go.
KEPT_SECONDS = 60.0

Done = tuple[pl.DataFrame, Scored]


@dataclass(frozen=True, slots=True)
class _Begun:
    served: Served
    part_id: int
    done: Future[Done]
    at: float = field(default_factory=time.monotonic)


class Ahead:
    """One part at a time, in a thread of its own. May be shared by threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._lock = threading.Lock()
        self._begun: _Begun | None = None

    def begin(self, served: Served, part: Part, settings: Settings) -> None:
        """Have that part read and scored, for a profile without windows; nothing where another one is under way."""
        with self._lock:
            if self._begun is None:
                self._begun = _Begun(served, part.id, self._pool.submit(work_out, served, part, settings))

    def take(self, served: Served, part_id: int) -> Done | None:
        """Rows and scores of that part by that model, which are given once; None where they have to be worked out."""
        with self._lock:
            begun, self._begun = self._begun, None
        if begun is None or begun.part_id != part_id or begun.served is not served:
            return None
        try:
            return begun.done.result()
        except Exception:
            # Whoever works it out now meets the same, in a place where it is counted.
            log.debug("part %d could not be scored ahead", part_id, exc_info=True)
            return None

    def forget(self) -> None:
        """Let go of what nobody asked for."""
        with self._lock:
            if self._begun is not None and time.monotonic() - self._begun.at > KEPT_SECONDS:
                self._begun = None


def work_out(served: Served, part: Part, settings: Settings) -> Done:
    """Read a part and score it, for a profile without windows."""
    frame = read_part(settings.data_dir / part.good_path, part.start, part.rows)
    return frame, scored.score(served, frame, None, settings.chunk_rows)
