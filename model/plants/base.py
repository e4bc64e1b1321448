"""What every simulated plant has in common: machines whose rows come in campaigns, and how their files are written."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from appliance.profile import Column, Profile, load

PROFILES = Path(__file__).resolve().parent.parent / "profiles"

# One campaign a machine and a few to spare: machines take turns, each needs its current one again.
_KEPT_CAMPAIGNS = 32


class Plant(ABC):
    """Machines of one kind. A machine's rows are endless and fixed by (seed, machine, row number) alone.

    They come in campaigns of ``campaign_rows``, each drawn from a generator of its own, so that any stretch can be
    had without playing what precedes it, and the same seed gives the same rows however they are cut into files.
    """

    name: ClassVar[str]
    campaign_rows: ClassVar[int]
    training_machines: ClassVar[int]  # machines in a training file, unless told otherwise
    most_machines: ClassVar[int]
    trimmed: ClassVar[frozenset[str]] = frozenset()  # number columns written without trailing zeros

    def __init__(self) -> None:
        self.profile: Profile = load(PROFILES / f"{self.name}.toml")
        self._campaigns: OrderedDict[tuple[int, int, int], pl.DataFrame] = OrderedDict()

    @abstractmethod
    def machine(self, number: int) -> str:
        """The name of machine ``number``, counted from 1."""

    @abstractmethod
    def campaign(self, seed: int, machine: int, number: int) -> pl.DataFrame:
        """Campaign ``number`` (from 0) of a machine: ``campaign_rows`` rows under the profile's names and types."""

    def rows(self, seed: int, machine: int, start: int, count: int) -> pl.DataFrame:
        """Rows ``start`` to ``start + count`` (from 0) of a machine, typed as :func:`appliance.features.dtype` says."""
        pieces = []
        end = start + count
        while start < end:
            number, offset = divmod(start, self.campaign_rows)
            piece = self._campaign(seed, machine, number).slice(offset, end - start)
            pieces.append(piece)
            start += piece.height
        return pl.concat(pieces) if pieces else self._campaign(seed, machine, 0).clear()

    def shift(self, seed: int, machines: int, start: int, steps: int) -> pl.DataFrame:
        """Steps ``start`` to ``start + steps`` of all machines in one log: step by step, machine by machine."""
        every = pl.concat(self.rows(seed, machine, start, steps) for machine in range(1, machines + 1))
        return every[np.arange(machines * steps).reshape(machines, steps).T.ravel()] if machines > 1 else every

    def header(self) -> bytes:
        """The header line of this plant's files."""
        file = self.profile.file
        return (file.separator.join(c.header for c in self.profile.columns) + "\n").encode(file.encoding)

    def lines(self, frame: pl.DataFrame) -> bytes:
        """Typed rows as lines of this plant's files, without header."""
        text = frame.select(self._text(frame[c.name], c) for c in self.profile.columns)
        buffer = io.BytesIO()
        text.write_csv(buffer, include_header=False, separator=self.profile.file.separator)
        data = buffer.getvalue()
        return data if self.profile.file.encoding == "utf-8" else data.decode().encode(self.profile.file.encoding)

    def _campaign(self, seed: int, machine: int, number: int) -> pl.DataFrame:
        key = (seed, machine, number)
        if key not in self._campaigns:
            self._campaigns[key] = self.campaign(*key)
            if len(self._campaigns) > _KEPT_CAMPAIGNS:
                self._campaigns.popitem(last=False)
        self._campaigns.move_to_end(key)
        return self._campaigns[key]

    def _text(self, values: pl.Series, column: Column) -> pl.Series:
        if column.type == "boolean":
            return values.cast(pl.Int8).cast(pl.String)
        if column.type == "time":
            time = self.profile.time
            return values.dt.convert_time_zone(time.zone).dt.strftime(time.format or "iso")
        if column.type == "number" and column.decimals:
            return self._decimals(values, column, column.decimals)
        if column.numeric:
            return values.cast(pl.Int64).cast(pl.String)
        return values

    def _decimals(self, values: pl.Series, column: Column, decimals: int) -> pl.Series:
        # Readings have few distinct values: looking their text up is many times faster than printing each.
        whole = (values * 10**decimals).round().cast(pl.Int64)
        known = whole.drop_nulls().to_numpy()
        if not len(known):
            return pl.Series(values.name, [None] * len(values), dtype=pl.String)
        lowest, highest = int(known.min()), int(known.max())
        texts = [f"{number / 10**decimals:.{decimals}f}" for number in range(lowest, highest + 1)]
        if column.name in self.trimmed:
            texts = [text.rstrip("0").rstrip(".") for text in texts]
        if self.profile.file.decimal != ".":
            texts = [text.replace(".", self.profile.file.decimal) for text in texts]
        return pl.Series(values.name, texts).gather(whole - lowest).alias(values.name)


def typed(profile: Profile, columns: Sequence[pl.Series]) -> pl.DataFrame:
    """``columns`` as a frame in the profile's order."""
    return pl.DataFrame(list(columns)).select(c.name for c in profile.columns)
