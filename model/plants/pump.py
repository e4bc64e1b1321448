"""Coolant pumps whose bearings wear out: vibration and temperature climb and pressure falls before a failure.

A world of this project's own, small and learnable. A campaign is 15 days. Pumps are read every ten minutes, except
between two and three at night, when the circuits are flushed: so no reading falls into the hour that a plant's
clock skips in spring and repeats in autumn.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.plants.base import Plant, typed

Floats = NDArray[np.float64]

_READINGS_A_DAY = 23 * 6
_FLUSH_FROM, _FLUSH_MINUTES = 2 * 6, 60
_FLUIDS = ("water", "glycol", "emulsion")
_WARMTH = (52.0, 58.0, 62.0)  # bearing temperature in degC by fluid
_FAILS = 0.9  # chance that a campaign holds a failure: 6 % of the rows precede one by less than 24 h
_SENSOR_SILENT = 0.005
_SHOCKS = 2  # of a few readings each in a campaign: air in the circuit shakes a healthy pump too


class Pump(Plant):
    name = "pump"
    campaign_rows = 15 * _READINGS_A_DAY
    training_machines = 20
    most_machines = 99

    def __init__(self, begin: date = date(2025, 1, 1)) -> None:
        super().__init__()
        self.begin = begin

    def machine(self, number: int) -> str:
        return f"P-{number:02d}"

    def campaign(self, seed: int, machine: int, number: int) -> pl.DataFrame:
        pump = np.random.default_rng([seed, 2, machine])  # what stays the same in a pump's life
        fluid = int(pump.integers(len(_FLUIDS)))
        rest_vibration, rest_pressure = pump.uniform(1.9, 2.7), pump.uniform(5.9, 6.7)
        rng = np.random.default_rng([seed, 2, machine, number])
        count = self.campaign_rows
        step = np.arange(count)
        decay, soon = _decay(rng, count)
        day = 2.0 * np.sin(2 * np.pi * step / _READINGS_A_DAY)

        vibration = rest_vibration + 0.25 * _hum(rng, count) + rng.uniform(8, 13) * decay**1.5 + _shocks(rng, count)
        pressure = rest_pressure + 0.2 * _hum(rng, count) - rng.uniform(1.0, 2.2) * decay
        temperature = _WARMTH[fluid] + day + _hum(rng, count) + rng.uniform(6, 14) * decay**2
        silent = rng.random(count) < _SENSOR_SILENT
        warmth = pl.Series("temperature", temperature.round(1).clip(-20, 150))
        return typed(
            self.profile,
            [
                pl.Series("pump", [self.machine(machine)]).new_from_index(0, count),
                self._times(number * count + step),
                pl.Series("fluid", [_FLUIDS[fluid]]).new_from_index(0, count),
                warmth.set(pl.Series(silent), None),
                pl.Series("vibration", vibration.round(2).clip(0, 60)),
                pl.Series("pressure", pressure.round(2).clip(0, 25)),
                pl.Series("failed", soon),
                pl.Series("bearing_failure", soon),
            ],
        )

    def _times(self, reading: NDArray[np.int64]) -> pl.Series:
        days, slot = np.divmod(reading, _READINGS_A_DAY)
        minutes = days * 24 * 60 + slot * 10 + np.where(slot >= _FLUSH_FROM, _FLUSH_MINUTES, 0)
        local = np.datetime64(self.begin, "us") + minutes * np.timedelta64(1, "m")
        clock = pl.Series("measured_at", local).dt.replace_time_zone(self.profile.time.zone)
        return clock.dt.convert_time_zone("UTC")


def _decay(rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    """How far a bearing is gone, 0 to 1, and whether it fails within the next 24 h; afterwards the pump is as new."""
    decay, soon = np.zeros(count), np.zeros(count, dtype=np.bool_)
    fails, at = rng.random() < _FAILS, int(rng.integers(2 * _READINGS_A_DAY, count + 1))
    length = int(rng.integers(int(1.1 * _READINGS_A_DAY), int(1.5 * _READINGS_A_DAY)))
    if fails:
        decay[at - length : at] = np.arange(1, length + 1) / length
        soon[at - _READINGS_A_DAY : at] = True
    return decay, soon


def _hum(rng: np.random.Generator, count: int) -> Floats:
    """Noise of mean 0 and variance 1 that remembers about an hour."""
    kernel = 0.85 ** np.arange(40)
    hum: Floats = np.convolve(rng.standard_normal(count + len(kernel) - 1), kernel, "valid") / np.linalg.norm(kernel)
    return hum


def _shocks(rng: np.random.Generator, count: int) -> Floats:
    shocks = np.zeros(count)
    for start, length in zip(rng.integers(0, count, _SHOCKS), rng.integers(1, 5, _SHOCKS), strict=True):
        shocks[start : start + length] += rng.uniform(2, 5)
    return shocks
