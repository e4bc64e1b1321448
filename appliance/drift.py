"""How far the rows of a day are from those that the model was trained on: counts a bin, which add up. Pure.

A feature's bins are made once, from the bundle's reference sample and the range that training saw. From counts of the
same bins, of a machine's day or of all machines' month, follow

- **PSI**, the population stability index, over about ten groups of bins of equal share: the sum of (p - q) ln(p / q).
  Below 0.1 little has changed, from 0.25 on much has (Siddiqi, Credit Risk Scorecards, Wiley 2006). Without any change
  the PSI of n rows against a sample of m is about (1/n + 1/m) times a chi-square variable with one degree of freedom
  less than there are groups (Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of
  Risk Model Validation 14, 2020): what chance gives once in a thousand is no drift, so that few rows cry no wolf.
- **KS**, the two-sample Kolmogorov-Smirnov statistic, the greatest distance of the two distributions: it is ``ks`` for
  categories, and between ``ks`` and ``ks_bound``, at most a bin's share apart, for readings. Missing values are left out
  of it, and are a group of PSI.
- **outside**, the rows below or above all that training saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SCORE = "_probability"
FEW_ROWS = 200
SOME, MUCH = 0.1, 0.25
# The normal distribution's quantile of 0.999: what chance does once in a thousand.
_RARE = 3.090232306167813
_GROUPS = 10
# Readings: a hundred bins, so that KS is known to a hundredth. Up to so many distinct values, each has a bin.
_BINS = 100

Counts = NDArray[np.int64]
Level = Literal["few", "none", "some", "much"]


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """The bins of one column of the model's matrix, or of the score (``SCORE``).

    Bin 0 is below all that training saw; bin i holds values above ``edges[i - 1]`` up to ``edges[i]``; then comes what
    is above all, and last what is missing. PSI counts bins of one group together.
    """

    name: str
    edges: NDArray[np.float32]  # ascending
    groups: NDArray[np.int16]  # (bins,)
    reference: Counts  # (bins,)

    def __len__(self) -> int:
        return len(self.edges) + 2

    def of(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The bin of each value."""
        found = np.searchsorted(self.edges, values, side="left")
        return np.where(np.isnan(values), len(self.edges) + 1, found).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Drift:
    """Rows of a day (or of any other stretch) beside the reference sample."""

    name: str
    rows: int
    psi: float
    chance: float  # the PSI that chance alone exceeds once in a thousand
    ks: float
    ks_bound: float
    outside: float  # share of rows
    missing: float  # share of rows

    @property
    def level(self) -> Level:
        """``few`` rows say nothing; ``much`` is what people are told of."""
        if self.rows < FEW_ROWS:
            return "few"
        if self.psi < max(SOME, self.chance):
            return "none"
        return "much" if self.psi >= max(MUCH, self.chance) else "some"


def bins_of(name: str, sample: NDArray[np.float32], low: float = -math.inf, high: float = math.inf) -> Bins:
    """Bins for a column of the reference sample (NaN is missing) of which training saw ``low`` to ``high``."""
    present = np.sort(sample[~np.isnan(sample)].astype(np.float32))
    seen = np.unique(present)
    few = len(seen) <= _GROUPS * 2
    if len(present):
        # A sample may lack the ends of what training saw, and never holds more.
        least, most = np.float32(max(low, -3e38)), np.float32(min(high, 3e38))
        least = seen[0] if low == -math.inf else min(least, seen[0])
        most = seen[-1] if high == math.inf else max(most, seen[-1])
        inner = seen if few else _quantiles(present, _BINS)
        edges = np.unique(np.append(inner, [np.nextafter(least, np.float32(-np.inf)), most]).astype(np.float32))
    else:
        edges = np.zeros(1, dtype=np.float32)  # whatever comes is new
    bins = Bins(name, edges, np.zeros(len(edges) + 2, dtype=np.int16), np.zeros(len(edges) + 2, dtype=np.int64))
    reference = np.bincount(bins.of(sample), minlength=len(bins)).astype(np.int64)
    return Bins(name, edges, _grouped(edges, present, few), reference)


def count(bins: Sequence[Bins], values: NDArray[np.float32], of: NDArray[np.int64], several: int) -> Counts:
    """Counts of rows (rows, columns), one column for each of ``bins``, for each of ``several``: shape (several, all bins).

    ``of`` says whose each row is: 0 to ``several`` - 1, negative for nobody's.
    """
    known = of >= 0
    if not known.all():
        values, of = values[known], of[known]
    pieces = []
    for position, one in enumerate(bins):
        flat = np.bincount(of * len(one) + one.of(values[:, position]), minlength=several * len(one))
        pieces.append(flat.reshape(several, len(one)))
    return np.concatenate(pieces, axis=1).astype(np.int64) if pieces else np.zeros((several, 0), dtype=np.int64)


def drifts(bins: Sequence[Bins], counts: Counts) -> list[Drift]:
    """What counts of the shape (all bins,) say; they may be sums of any number of such."""
    found, start = [], 0
    for one in bins:
        found.append(drift(one, counts[start : start + len(one)]))
        start += len(one)
    return found


def drift(bins: Bins, counts: Counts) -> Drift:
    rows = int(counts.sum())
    low, high = ks(counts, bins.reference)
    return Drift(
        name=bins.name,
        rows=rows,
        psi=psi(_summed(counts, bins.groups), _summed(bins.reference, bins.groups)),
        chance=chance_factor(bins) * (1 / max(rows, 1) + 1 / max(int(bins.reference.sum()), 1)),
        ks=low,
        ks_bound=high,
        outside=float(counts[0] + counts[-2]) / max(rows, 1),
        missing=float(counts[-1]) / max(rows, 1),
    )


def psi(counts: Counts, reference: Counts) -> float:
    """Over groups that hold anything on either side, each with half a row more, so that an empty one is no infinity."""
    if not counts.sum() or not reference.sum():
        return 0.0
    held = (counts + reference) > 0
    p, q = counts[held] + 0.5, reference[held] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


def ks(counts: Counts, reference: Counts) -> tuple[float, float]:
    """The distance of the two distributions at the ends of bins, and what it may be at most within one."""
    here, there = counts[:-1], reference[:-1]
    if not here.sum() or not there.sum():
        return 0.0, 0.0
    mine, theirs = np.cumsum(here) / here.sum(), np.cumsum(there) / there.sum()
    before = np.append(0.0, mine[:-1]), np.append(0.0, theirs[:-1])
    least = float(np.abs(mine - theirs).max())
    most = max(float((mine - before[1]).max()), float((theirs - before[0]).max()))
    return least, most


def chance_factor(bins: Bins) -> float:
    """The chi-square quantile of 0.999 for these groups, by Wilson and Hilferty's cube (PNAS 17, 1931)."""
    freedom = max(int((_summed(bins.reference, bins.groups) > 0).sum()) - 1, 1)
    return float(freedom * (1 - 2 / (9 * freedom) + _RARE * math.sqrt(2 / (9 * freedom))) ** 3)


def _quantiles(present: NDArray[np.float32], parts: int) -> NDArray[np.float32]:
    """Values of the sample that cut it into so many parts of about the same size."""
    at = np.ceil(np.arange(1, parts) / parts * len(present)).astype(np.int64) - 1
    return present[np.maximum(at, 0)]


def _grouped(edges: NDArray[np.float32], present: NDArray[np.float32], few: bool) -> NDArray[np.int16]:
    """The group of each bin: its own for few values, tenths of the sample for readings; missing values are one too."""
    width = len(edges) + 2
    if few:
        return np.arange(width, dtype=np.int16)
    # What lies outside counts with the nearest tenth: how much it is has a figure of its own.
    cuts = np.unique(_quantiles(present, _GROUPS))
    group = np.searchsorted(cuts, np.append(edges, np.float32(np.inf)), side="left")
    return np.append(group, group.max() + 1).astype(np.int16)


def _summed(counts: Counts, groups: NDArray[np.int16]) -> Counts:
    return np.bincount(groups, weights=counts, minlength=int(groups.max()) + 1).astype(np.int64)
