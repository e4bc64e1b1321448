"""What a reader hands to the checks: rows of text cells, and what is wrong with a row as a whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance.profile import ROW
from appliance.spreadsheet import MEND

# What is wrong with a row as a whole. UNMENDED: a bad CSV came back and the row's cell in `_mend` is not empty.
WHOLE, TOO_FEW, TOO_MANY, UNSOUND, CUT_OFF, UNMENDED = range(6)

Faults = Mapping[tuple[str, str], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a file, in its order.

    ``frame``: String columns under the file's header names (an empty cell is null; a time of a Parquet or JSON column
    stays a Datetime) and ``_row``, Int64 from 1. ``damage``: shape (rows,), one of the codes above. ``mend``: for
    damaged rows, what a person has to put right. ``faults``: cells that the format itself shows to be wrong, shape
    (rows,) by (rule, header name).
    """

    frame: pl.DataFrame
    damage: NDArray[np.uint8]
    mend: pl.Series
    faults: Faults = field(default_factory=dict)

    @classmethod
    def of(cls, cells: pl.DataFrame, first_row: int = 1, faults: Faults | None = None) -> Batch:
        """Rows none of which is damaged as a whole."""
        return cls(
            numbered(cells, first_row),
            np.zeros(cells.height, dtype=np.uint8),
            pl.Series(MEND, [None], dtype=pl.String).new_from_index(0, cells.height),
            faults or {},
        )

    @property
    def header(self) -> list[str]:
        return [name for name in self.frame.columns if name != ROW]

    @property
    def rows(self) -> int:
        return self.frame.height

    @property
    def cells_wrong(self) -> NDArray[np.bool_]:
        wrong: NDArray[np.bool_] = self.damage != WHOLE
        return wrong


def numbered(cells: pl.DataFrame, first_row: int) -> pl.DataFrame:
    rows = pl.Series(ROW, np.arange(first_row, first_row + cells.height, dtype=np.int64))
    # A file that this box wrote has numbers of its own; to add a column is quicker than to replace one.
    return cells.with_columns(rows) if ROW in cells.columns else cells.hstack([rows])
