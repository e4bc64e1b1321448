"""How the lines of a block look, by arithmetic on its bytes. Pure.

A line is *simple* where each of its quotes opens at the start of a cell or closes at the end of one, with no separator
between the two: without these quotes it says the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEWLINE, RETURN, QUOTE = 10, 13, 34

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]


class Shapes:
    """``data``: bytes of whole lines, each closed by a line end; ``ends``: the positions of those.

    ``quoted``, ``simple``, ``blank``: one flag a line; a line with quotes that is not simple needs a parser.
    """

    def __init__(self, data: NDArray[np.uint8], ends: Numbers, separator: int) -> None:
        self._data = data
        self._ends = ends
        self._starts = np.concatenate(([0], ends[:-1] + 1))
        self._separator = separator
        returns = np.flatnonzero(data == RETURN)
        closing = data[np.minimum(returns + 1, len(data) - 1)] == NEWLINE
        self._stray_return: Flags = self._per_line(returns[~closing]) > 0
        self.blank: Flags = ends - self._starts == (self._per_line(returns[closing]) > 0)
        self._quotes = np.flatnonzero(data == QUOTE)
        quotes = self._per_line(self._quotes)
        self.quoted: Flags = quotes > 0
        self.simple = self._simple(quotes) if self._quotes.size else self.quoted

    def plain(self, width: int) -> Flags:
        """Lines that their separators split into exactly ``width`` cells."""
        cells = self._per_line(np.flatnonzero(self._data == self._separator)) + 1
        sound: Flags = (cells == width) & ~self.blank & ~self._stray_return & (self.simple | ~self.quoted)
        return sound

    def text_of(self, lines: Flags) -> bytes:
        """The text of those lines, the quotes of simple ones taken off."""
        if lines.all() and not self._quotes.size:
            return self._data.tobytes()
        keep = np.repeat(lines, self._ends - self._starts + 1)
        keep[self._quotes] = False
        return self._data[keep].tobytes()

    def _per_line(self, positions: Numbers) -> Numbers:
        """How many of the positions, which are in order, lie on each line."""
        return np.diff(np.searchsorted(positions, self._ends), prepend=0)

    def _simple(self, per_line: Numbers) -> Flags:
        quotes = self._quotes
        line = np.repeat(np.arange(len(per_line)), per_line)
        before = np.concatenate(([0], np.cumsum(per_line)[:-1]))
        opens = (np.arange(len(quotes)) - before[line]) % 2 == 0
        left = self._data[np.maximum(quotes - 1, 0)]
        right = self._data[quotes + 1]  # a line end follows at the latest
        starts_cell = (quotes == self._starts[line]) | (left == self._separator)
        ends_cell = (right == self._separator) | (right == NEWLINE) | (right == RETURN)
        wrong = np.where(opens, ~starts_cell, ~ends_cell)
        # Between an opening quote and the next one on its line, no cell may end.
        cells = np.cumsum(self._data == self._separator, dtype=np.int32)[quotes]
        wrong[:-1] |= opens[:-1] & (cells[1:] > cells[:-1])
        simple: Flags = self.quoted & (per_line % 2 == 0) & ~self._stray_return
        simple[line[wrong]] = False
        return simple
