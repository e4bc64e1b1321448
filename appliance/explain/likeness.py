"""How far rows are from each other: unlike all of training, or like a case whose end is known. Pure.

Features are counted in standard deviations of the training rows, and a distance is the root of their mean square: 1.0
is one standard deviation in every feature. A missing value counts as the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Case:
    """A past row: its features by name, as they were stored, and what is told about it."""

    features: Mapping[str, float | None]
    told: Mapping[str, Any]


class Space:
    """Made once for a model from its reference rows, float32 (rows, features); may be shared by threads."""

    def __init__(self, names: Sequence[str], reference: NDArray[np.float32], spread: NDArray[np.float64]) -> None:
        self._names = list(names)
        self._spread = spread
        missing = np.isnan(reference)
        known = np.where(missing, 0.0, reference.astype(np.float64)).sum(axis=0)
        self._mean = known / np.maximum(1, len(reference) - missing.sum(axis=0))
        self._rows = self._scaled(reference)
        self.usual = self._usual()

    def from_training(self, row: NDArray[np.float32]) -> float:
        """The distance of a row (features,) to the nearest reference row."""
        return float(self._distances(self._scaled(row[None, :]), self._rows).min())

    def nearest(self, row: NDArray[np.float32], cases: Sequence[Case], most: int) -> list[tuple[float, Case]]:
        """The nearest cases with their distances; those of models with other features are left out."""
        comparable = [case for case in cases if all(name in case.features for name in self._names)]
        if not comparable:
            return []
        matrix = np.array([[case.features[name] for name in self._names] for case in comparable], dtype=np.float64)
        distances = self._distances(self._scaled(row[None, :]), self._scaled(matrix))[0]
        return [(float(distances[at]), comparable[at]) for at in np.argsort(distances, kind="stable")[:most]]

    def _usual(self) -> float:
        """How far a reference row is from its nearest neighbour, at most."""
        if len(self._rows) < 2:
            return float("inf")
        farthest = 0.0
        for first in range(0, len(self._rows), _BLOCK):
            distances = self._distances(self._rows[first : first + _BLOCK], self._rows)
            distances[np.arange(len(distances)), first + np.arange(len(distances))] = np.inf
            farthest = max(farthest, float(distances.min(axis=1).max()))
        return farthest

    def _scaled(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (rows.astype(np.float64) - self._mean) / self._spread
        scaled[np.isnan(scaled)] = 0.0
        return scaled

    def _distances(self, some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
        squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * some @ others.T
        distances: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0) / max(1, some.shape[1]))
        return distances
