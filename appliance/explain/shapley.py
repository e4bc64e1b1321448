"""How much each feature moved one prediction: interventional Shapley values, exact, for all rows of a background.

For one leaf and one background row the features fall into three: those by which only the explained row meets the leaf's
conditions (``a`` of them), those by which only the background row does (``b``), and those that make no difference. The
leaf is reached by exactly the mixtures that take all of the first and none of the second, and the Shapley values of that
little game are known: ``(a-1)! b! / (a+b)!`` for each of the first, minus ``a! (b-1)! / (a+b)!`` for each of the second.
Where a condition is met by neither row, no mixture reaches the leaf.

So for each leaf it is enough to know which sets of its conditions background rows miss, and how many rows miss each:
that table does not depend on the explained row, and is made once. (S. Lundberg and others, doi 10.1038/s42256-019-0138-9.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from appliance.errors import BundleRefused
from appliance.explain.forest import Forest

# Pairs of a leaf and a background row that the table is made from: a second of work, and some 10 MB to keep.
MOST_PAIRS = 40_000_000
FEWEST_ROWS = 100
_BLOCK = 2_000_000  # conditions times rows that are looked at together
_MOST_CONDITIONS = 64


class Shapley:
    """Made once for a model; may be shared by threads.

    ``base`` is the mean of the model over the background, to which contributions add; ``rows`` is how many rows of the
    background were taken: evenly spaced ones, fewer than all for very large forests.
    """

    def __init__(self, forest: Forest, background: NDArray[np.float32], most_pairs: int = MOST_PAIRS) -> None:
        """``background``: float32 (rows, features), at least one row. BundleRefused where trees are absurdly deep."""
        self._forest = forest
        self._features = background.shape[1]
        leaves = len(forest.value)
        take = min(len(background), max(FEWEST_ROWS, most_pairs // max(leaves, 1)))
        taken = np.unique(np.linspace(0, len(background) - 1, take).round().astype(np.intp))
        self.rows = len(taken)
        self._at = np.arange(len(forest.leaf)) - forest.start[forest.leaf]  # a condition's number within its leaf
        self._width = int(self._at.max(initial=-1)) + 1
        if self._width > _MOST_CONDITIONS:
            raise BundleRefused(
                "explain",
                f"A tree of the model asks for {self._width} features on one way, and cannot be explained.",
                "Train it again with larger leaves.",
            )
        kind = np.dtype(f"u{next(size for size in (1, 2, 4, 8) if size * 8 >= self._width)}")
        self._bits = np.left_shift(kind.type(1), self._at.astype(kind))
        self._feature_at = np.zeros((leaves, self._width), dtype=np.intp)
        self._feature_at[forest.leaf, self._at] = forest.feature
        self._gain, self._loss = _weights(self._width)
        blocks = list(self._misses(forest.filled(background[taken])))
        self._leaf, self._missed, counts = (np.concatenate(part) for part in zip(*blocks, strict=True))
        self._missed_count = np.bitwise_count(self._missed)
        self._share = forest.value[self._leaf] * counts / self.rows
        self.base = forest.constant + float(self._share[self._missed_count == 0].sum())

    def contributions(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each feature of one row, float32 (features,), adds to ``base``; together the model's output."""
        forest, found = self._forest, np.zeros(self._features)
        if not len(self._leaf):
            return found
        fails = forest.fails(forest.filled(row[None, :]))[:, 0]
        missed = np.bitwise_or.reduceat(self._bits * fails, forest.start)
        live = np.flatnonzero((self._missed & missed[self._leaf]) == 0)
        leaf, by_background, share = self._leaf[live], self._missed[live], self._share[live]
        a, b = self._missed_count[live], np.bitwise_count(missed)[leaf]
        lost = np.bincount(leaf, weights=share * self._loss[a, b], minlength=len(forest.value))
        found -= np.bincount(forest.feature[fails], weights=lost[forest.leaf[fails]], minlength=self._features)
        gained = share * self._gain[a, b]
        for number in range(self._width):
            mine = np.flatnonzero(by_background & self._bits.dtype.type(1 << number))
            found += np.bincount(self._feature_at[leaf[mine], number], weights=gained[mine], minlength=self._features)
        return found

    def _misses(
        self, background: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.unsignedinteger], NDArray[np.intp]]]:
        """Block by block: leaf, a set of its conditions that background rows miss, and how many rows miss just that."""
        forest, rows = self._forest, len(background)
        ends = np.append(forest.start[1:], len(forest.leaf))
        first = 0
        yield np.zeros(0, dtype=np.intp), np.zeros(0, dtype=self._bits.dtype), np.zeros(0, dtype=np.intp)
        while first < len(forest.value):
            room = forest.start[first] + max(1, _BLOCK // rows)
            last = max(first + 1, int(np.searchsorted(ends, room, side="right")))
            start, end = int(forest.start[first]), int(ends[last - 1])
            bits = forest.fails(background, start, end) * self._bits[start:end, None]
            sets = np.bitwise_or.reduceat(bits, forest.start[first:last] - start, axis=0)
            sets.sort(axis=1)
            new = np.ones(sets.shape, dtype=np.bool_)
            new[:, 1:] = sets[:, 1:] != sets[:, :-1]
            at = np.flatnonzero(new)
            yield first + at // rows, sets.ravel()[at], np.diff(at, append=sets.size)
            first = last


def _weights(width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By ``a`` and ``b``: what each of the first gains, and what each of the second loses."""
    gain, loss = np.zeros((width + 1, width + 1)), np.zeros((width + 1, width + 1))
    for a in range(width + 1):
        for b in range(width + 1):
            gain[a, b] = 1 / (a * math.comb(a + b, a)) if a else 0.0
            loss[a, b] = 1 / (b * math.comb(a + b, b)) if b else 0.0
    return gain, loss
