"""Rows that came before in the same file, in bounded memory. Pure.

Rows are compared by 64-bit hashes of their cells: among a million rows, two different ones look alike once in thirty
million files. A row is looked for among at least the ``WINDOW`` rows before it, at most twice as many (64 MiB).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

WINDOW = 4_000_000

Hashes = NDArray[np.uint64]


class Duplicates:
    """Remembers rows across batches; what it finds does not depend on where a batch ends."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._older: Hashes = np.empty(0, dtype=np.uint64)
        self._newer: Hashes = np.empty(0, dtype=np.uint64)  # sorted, like the older ones
        self._rows = 0  # that went into the newer ones

    def seen(self, cells: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.bool_]:
        """True for the second and later of identical rows, shape (rows,)."""
        hashes = cells.select(columns).hash_rows(seed=0).to_numpy()
        result = np.zeros(len(hashes), dtype=np.bool_)
        start = 0
        while start < len(hashes):
            stop = min(len(hashes), start + self._window - self._rows)
            result[start:stop] = self._take(hashes[start:stop])
            start = stop
        return result

    def _take(self, hashes: Hashes) -> NDArray[np.bool_]:
        seen = np.ones(len(hashes), dtype=np.bool_)
        distinct, first = np.unique(hashes, return_index=True)
        recent = _among(distinct, self._newer)
        seen[first[~(recent | _among(distinct, self._older))]] = False
        self._newer = np.sort(np.concatenate((self._newer, distinct[~recent])), kind="stable")
        self._rows += len(hashes)
        if self._rows >= self._window:
            self._older, self._newer, self._rows = self._newer, self._newer[:0], 0
        return seen


def _among(values: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    if not ordered.size:
        return np.zeros(len(values), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == values
    return found
