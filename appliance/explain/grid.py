"""Round values between two ends: what a person would set a reading to. Pure."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

_FINE = 1000  # steps over the range of a reading whose profile does not say how many digits it has


def digits(decimals: int | None, span: float) -> int:
    """Decimals of a reading (negative: tens, hundreds, ...); where none are said, what tells 1,000 values apart."""
    if decimals is not None or span <= 0:
        return decimals or 0
    return -math.floor(math.log10(span / _FINE))


def values(low: float, high: float, decimals: int, most: int) -> list[float]:
    """Values of so many decimals from ``low`` to ``high``, ascending: all of them, or about ``most`` that are rounder,
    and the first and the last. Empty where there is none."""
    # By their decimal digits, as a person reads the ends: 0.3 is three tenths.
    scale = Fraction(10) ** decimals
    first, last = math.ceil(Fraction(repr(low)) * scale), math.floor(Fraction(repr(high)) * scale)
    if last < first:
        return []
    step = next(size for size in _sizes() if (last - first) // size < max(1, most))
    numbers = {first, last, *range(-(-first // step) * step, last + 1, step)}
    # Whole numbers divide to the float that is nearest to the decimal fraction.
    return [float(number * 10**-decimals) if decimals < 0 else number / 10**decimals for number in sorted(numbers)]


def _sizes() -> itertools.chain[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return itertools.chain.from_iterable((10**power, 2 * 10**power, 5 * 10**power) for power in itertools.count())
