"""Mills by the documented rules of the AI4I 2020 data set (S. Matzka, doi 10.1109/AI4I49448.2020.00023).

Where the documentation is silent the published file decides: the relation of torque and speed, the spread of the wear
at which tools end, and the product numbers were read off its 10,000 rows. Like that file, a campaign is 10,000 parts,
begins with a new tool, and its two random walks are normalised over it; between campaigns the mill stands still.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.plants.base import Plant, typed

Floats = NDArray[np.float64]

_QUALITIES = np.array(["L", "M", "H"])
_SHARES = (0.6, 0.3, 0.1)
_WEAR_PER_PART = np.array([2, 3, 5])  # minutes
_STRAIN_LIMITS = np.array([11_000.0, 12_000.0, 13_000.0])  # min Nm
_FIRST_PRODUCT = np.array([47_180, 14_860, 29_414])  # number of record 1; later records count on

# A tool ends at a wear between 200 and 240 min; the file's ends have quantiles .1/.5/.9 of 203/215/228 min.
_TOOL_LIFE, _TOOL_SPREAD, _TOOL_SHAPE = 200.0, 40.0, (1.5, 2.7)
_TOOL_FAILS = 0.4  # of the ends; the others are replacements in time (46 of 119 in the file)
_RANDOM_FAILURE = 0.001


class Milling(Plant):
    name = "milling"
    campaign_rows = 10_000
    training_machines = 1
    most_machines = 1_000
    trimmed = frozenset({"process_temperature"})

    def machine(self, number: int) -> str:
        return f"mill-{number}"

    def campaign(self, seed: int, machine: int, number: int) -> pl.DataFrame:
        rng = np.random.default_rng([seed, 1, machine, number])
        count = self.campaign_rows
        record = np.arange(1, count + 1) + number * count
        quality = rng.choice(3, count, p=_SHARES)
        # Tenths as whole numbers, divided once: the very doubles that a reader gets from the written text.
        air_exact = 300 + _walk(rng, count, 2.0)
        air = np.round(air_exact * 10) / 10
        process = np.round((air_exact + 10 + _walk(rng, count, 1.0)) * 10) / 10
        torque_exact = np.abs(rng.normal(40, 10, count)).clip(0, 99)
        torque = np.round(torque_exact * 10) / 10
        speed = np.round(_speed(rng, torque_exact))
        wear, ends = _tool_wear(rng, _WEAR_PER_PART[quality])

        tool_fails = ends & (rng.random(count) < _TOOL_FAILS)
        heat = (process - air < 8.6) & (speed < 1380)
        watts = torque * speed * 2 * np.pi / 60
        power = (watts < 3500) | (watts > 9000)
        strain = wear * torque > _STRAIN_LIMITS[quality]
        chance = rng.random(count) < _RANDOM_FAILURE
        product = (_FIRST_PRODUCT[quality] + record - 1 - 10_000) % 90_000 + 10_000
        letters = pl.Series("type", _QUALITIES[quality])
        return typed(
            self.profile,
            [
                pl.Series("udi", record),
                (letters + pl.Series(product).cast(pl.String)).alias("product_id"),
                letters,
                pl.Series("air_temperature", air),
                pl.Series("process_temperature", process),
                pl.Series("speed", speed),
                pl.Series("torque", torque),
                pl.Series("tool_wear", wear),
                # As in the file, chance alone is not counted as a failure of the machine.
                pl.Series("machine_failure", tool_fails | heat | power | strain),
                pl.Series("twf", tool_fails),
                pl.Series("hdf", heat),
                pl.Series("pwf", power),
                pl.Series("osf", strain),
                pl.Series("rnf", chance),
            ],
        )


def _walk(rng: np.random.Generator, count: int, deviation: float) -> Floats:
    """A random walk with mean 0 and the given standard deviation."""
    steps = np.cumsum(rng.standard_normal(count))
    walk: Floats = (steps - steps.mean()) * (deviation / steps.std())
    return walk


def _speed(rng: np.random.Generator, torque: Floats) -> Floats:
    """Speed in rpm that belongs to a torque in Nm.

    Read off the file: 1000 + 20000 / torque with a noise of 50 rpm (residuals show no trend and no skew between 12 and
    77 Nm), and below 11 Nm the line 3000 - 30 torque without noise, which keeps the speed finite.
    """
    noise = rng.normal(0, 50, len(torque))
    return np.where(torque < 11, 3000 - 30 * torque, 1000 + 20_000 / np.maximum(torque, 11) + noise)


def _tool_wear(rng: np.random.Generator, minutes: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
    """Wear in minutes before each part, and where a tool has come to its end, by the minutes that each part takes."""
    worked = np.concatenate([[0], np.cumsum(minutes)[:-1]])
    wear = np.empty(len(minutes))
    ends = np.zeros(len(minutes), dtype=np.bool_)
    first = 0
    while first < len(minutes):
        life = _TOOL_LIFE + _TOOL_SPREAD * rng.beta(*_TOOL_SHAPE)
        last = int(np.searchsorted(worked, worked[first] + life))
        wear[first : last + 1] = worked[first : last + 1] - worked[first]
        if last < len(minutes):
            ends[last] = True
        first = last + 1
    return wear, ends
