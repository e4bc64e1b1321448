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
        self._separators = np.flatnonzero(data == separator)
        returns = np.flatnonzero(data == RETURN)
        closing = data[np.minimum(returns + 1, len(data) - 1)] == NEWLINE
        self._stray_return = self._flags(returns[~closing])
        lengths = ends - self._starts
        if closing.any():
            lengths = lengths - self._flags(returns[closing])
        self.blank: Flags = lengths == 0
        self._quotes = np.flatnonzero(data == QUOTE)
        self.quoted = self._flags(self._quotes)
        self.simple = self._simple(separator) if self._quotes.size else self.quoted

    def plain(self, width: int) -> Flags:
        """Lines that their separators split into exactly ``width`` cells."""
        counts = np.searchsorted(self._separators, self._ends) - np.searchsorted(self._separators, self._starts)
        sound: Flags = (counts == width - 1) & ~self.blank & ~self._stray_return & (self.simple | ~self.quoted)
        return sound

    def text_of(self, lines: Flags) -> bytes:
        """The text of those lines, the quotes of simple ones taken off."""
        if lines.all() and not self._quotes.size:
            return self._data.tobytes()
        keep = np.repeat(lines, self._ends - self._starts + 1)
        keep[self._quotes] = False
        return self._data[keep].tobytes()

    def _flags(self, positions: Numbers) -> Flags:
        flags = np.zeros(len(self._ends), dtype=np.bool_)
        if positions.size:
            flags[np.searchsorted(self._ends, positions)] = True
        return flags

    def _simple(self, separator: int) -> Flags:
        quotes = self._quotes
        line = np.searchsorted(self._ends, quotes)
        per_line = np.bincount(line, minlength=len(self._ends))
        before = np.concatenate(([0], np.cumsum(per_line)[:-1]))
        opens = (np.arange(len(quotes)) - before[line]) % 2 == 0
        left = self._data[np.maximum(quotes - 1, 0)]
        right = self._data[quotes + 1]  # a line end follows at the latest
        starts_cell = (quotes == self._starts[line]) | (left == separator)
        ends_cell = (right == separator) | (right == NEWLINE) | (right == RETURN)
        wrong = np.where(opens, ~starts_cell, ~ends_cell)
        # Between an opening quote and the next one on its line, no cell may end.
        between = np.searchsorted(self._separators, quotes[1:]) - np.searchsorted(self._separators, quotes[:-1])
        wrong[:-1] |= opens[:-1] & (between > 0)
        simple: Flags = self.quoted & (per_line % 2 == 0) & ~self._stray_return
        simple[line[wrong]] = False
        return simple
