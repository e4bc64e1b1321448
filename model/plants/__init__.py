"""Simulated plants: rows as frames, as files, and as files that drop into a folder over time.

Frames carry the profile's names and types (:func:`appliance.features.dtype`); files look as the profile describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from model.plants.base import Plant
from model.plants.milling import Milling
from model.plants.pump import Pump

PLANTS: dict[str, Callable[[], Plant]] = {Milling.name: Milling, Pump.name: Pump}

# Rows that are generated and written at a time: bounds the memory of a large file.
_CHUNK_ROWS = 100_000

__all__ = ["PLANTS", "Milling", "Plant", "Pump", "chunks", "csv_bytes", "generate", "write_csv"]


def generate(plant: str | Plant, rows: int, seed: int = 0, *, machine: int = 1, start: int = 0) -> pl.DataFrame:
    """``rows`` rows of one machine (counted from 1), from its row ``start`` on."""
    return _plant(plant).rows(seed, machine, start, rows)


def csv_bytes(plant: str | Plant, rows: int, seed: int = 0, *, machine: int = 1, start: int = 0) -> bytes:
    """The same rows as the bytes of a file, header included."""
    played = _plant(plant)
    return played.header() + played.lines(played.rows(seed, machine, start, rows))


def write_csv(path: Path, plant: str | Plant, rows: int, seed: int = 0, *, machines: int | None = None) -> None:
    """A training file: all machines in one log, step by step. A shorter one is a prefix of a longer one."""
    played = _plant(plant)
    with path.open("wb") as file:
        file.write(played.header())
        for lines, _ in chunks(played, rows, seed, machines or played.training_machines):
            file.write(lines)


def chunks(plant: Plant, rows: int, seed: int, machines: int) -> Iterator[tuple[bytes, int]]:
    """The lines of such a file in pieces, each with its number of rows."""
    steps_at_a_time = max(1, _CHUNK_ROWS // machines)
    written = step = 0
    while written < rows:
        steps = min(steps_at_a_time, -(-(rows - written) // machines))
        frame = plant.shift(seed, machines, step, steps).head(rows - written)
        yield plant.lines(frame), frame.height
        written += frame.height
        step += steps


def _plant(plant: str | Plant) -> Plant:
    return PLANTS[plant]() if isinstance(plant, str) else plant
