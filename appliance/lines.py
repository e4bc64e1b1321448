"""CSV bytes -> whole rows, in bounded memory, without ever guessing.

Lines whose cells can be told by their separators alone are counted and split in bulk; a line whose quotes ask for more
goes through a strict parser. Which of the two it takes depends on nothing but the line, so neither the size of the
blocks nor the rows before it change what it gives.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.decoding import UNIT, texts
from appliance.errors import FileRefused
from appliance.lineshapes import NEWLINE, Shapes

BLOCK = 16 * 2**20  # bytes of text in a block, however few lines that is
GROUP = 256  # lines that are tried together first
QUOTE_FAULTS = 1000  # each costs a second look at the lines behind it; more of them are no accident

# What can be wrong with a line as a whole.
FEW, MANY, BROKEN, CUT = "few", "many", "broken", "cut"


class Irregular(NamedTuple):
    """A line that was read by itself; ``fault`` is '' where nothing is wrong with it."""

    line: int  # index among the block's lines
    cells: list[str]
    fault: str


@dataclass(frozen=True, slots=True)
class Block:
    """``plain``: text of the lines that split cleanly; ``plain_lines``: their indices; the others one by one.

    Indices grow with the row's place in the file; blank lines have none.
    """

    plain: bytes
    plain_lines: NDArray[np.int64]
    others: list[Irregular]
    separator: str


class _Record(NamedTuple):
    cells: list[str]
    lines: int


class Lines:
    """Reads ``source`` from its beginning; :class:`FileRefused` where it is no text or cannot be held in memory.

    The first call must be :meth:`header`. ``must_end`` says that a last line without a line end was cut off.
    """

    def __init__(
        self, source: BinaryIO, encoding: str, separator: str, line_limit: int, *, must_end: bool = False
    ) -> None:
        self._parts = texts(source, encoding, separator)
        self._line_limit = line_limit
        self._must_end = must_end
        self._separator = separator if separator.isascii() else UNIT
        self._exotic = "" if separator.isascii() else separator
        self._buffer = b""
        self._ends: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # positions of the line ends in the buffer
        self._line = 0  # lines of the buffer that were handed out
        self._at_end = False
        self._unended = False  # the last line came without a line end
        self._width = 0
        self._quote_faults = 0
        csv.field_size_limit(max(csv.field_size_limit(), line_limit))

    def header(self) -> list[str]:
        """The cells of the first line that is not blank."""
        while self._fill(1):
            record = self._record(self._line)
            if record is None:
                raise FileRefused("quotes", "The quotes of the header are not sound.", "Mend the first line.")
            self._line += record.lines
            if record.cells:
                self._width = len(record.cells)
                return record.cells
        raise FileRefused("empty", "The file holds nothing but blank lines.", "Drop it again once it has rows.")

    def block(self, rows: int) -> Block | None:
        """The rows of the next ``rows`` lines (fewer where they are long), or None at the end of the file."""
        if not self._fill(rows):
            return None
        first = self._line
        last = min(first + rows, len(self._ends))
        start = self._span(first)[0]
        last = first + max(1, int(np.searchsorted(self._ends[first:last], start + BLOCK)))
        data = np.frombuffer(self._buffer, dtype=np.uint8, count=int(self._ends[last - 1]) + 1 - start, offset=start)
        shapes = Shapes(data, self._ends[first:last] - start, ord(self._separator))
        others: list[Irregular] = []
        taken = np.zeros(last - first, dtype=np.bool_)  # lines that are read by themselves or belong to one that is
        self._line = self._one_by_one(first, last, shapes.quoted & ~shapes.simple, taken, others)
        at_end = self._unended and self._line >= len(self._ends)
        if self._must_end and at_end and (taken[-1] or not shapes.blank[-1]):
            self._cut_off(first, last, taken, others)
        plain = shapes.plain(self._width) & ~taken
        for index in np.flatnonzero(~(plain | taken | shapes.blank)).tolist():
            cells = self._cells_of(first + index)
            others.append(Irregular(index, cells, self._judged(cells) or BROKEN))
        others.sort(key=lambda other: other.line)
        return Block(shapes.text_of(plain), np.flatnonzero(plain), others, self._separator)

    def _one_by_one(
        self, first: int, last: int, wanted: NDArray[np.bool_], taken: NDArray[np.bool_], others: list[Irregular]
    ) -> int:
        """Read the wanted lines strictly, and those that a quote ties to them; returns the line after the last."""
        after = 0
        indices = np.flatnonzero(wanted).tolist()
        for start in range(0, len(indices), GROUP):
            group = [index for index in indices[start : start + GROUP] if index >= after]
            cells = self._lines_alone([first + index for index in group])
            if cells is not None:
                others += [Irregular(index, row, self._judged(row)) for index, row in zip(group, cells, strict=True)]
                taken[group] = True
                continue
            for index in group:
                if index >= after:
                    after = self._one(first, index, others)
                    taken[index:after] = True
        return max(last, first + after)

    def _one(self, first: int, index: int, others: list[Irregular]) -> int:
        """Read the record that starts on a line; returns the index of the line behind it."""
        record = self._record(first + index)
        if record is not None:
            others.append(Irregular(index, record.cells, self._judged(record.cells)))
            return index + record.lines
        self._quote_faults += 1
        if self._quote_faults > QUOTE_FAULTS:
            raise FileRefused(
                "quotes",
                f"More than {QUOTE_FAULTS:,} rows hold a quote that does not close.",
                "Export the file with every quote inside a cell doubled, or without quotes.",
            )
        others.append(Irregular(index, self._cells_of(first + index), BROKEN))
        return index + 1

    def _lines_alone(self, lines: list[int]) -> list[list[str]] | None:
        """The cells of lines each of which is a record; None where any is more, less or unsound."""
        try:
            rows = list(csv.reader(map(self._text_of, lines), delimiter=self._separator, strict=True))
        except csv.Error:
            return None
        return [self._restored(row) for row in rows] if len(rows) == len(lines) else None

    def _record(self, line: int) -> _Record | None:
        """The record that starts on that line, however many lines it takes; None where its quotes are not sound."""
        start = self._span(line)[0]
        beyond = int(np.searchsorted(self._ends, start + self._line_limit, side="right"))
        following = (self._text_of(number) for number in range(line, max(beyond, line + 1)))
        reader = csv.reader(following, delimiter=self._separator, strict=True)
        try:
            cells = next(reader)
        except csv.Error:
            return None
        return _Record(self._restored(cells), reader.line_num)

    def _cells_of(self, line: int) -> list[str]:
        """The cells of a line by itself, as far as it has any."""
        text = self._text_of(line)
        if '"' in text:
            try:
                return self._restored(next(csv.reader([text], delimiter=self._separator, strict=True)))
            except csv.Error:
                pass
        return text.rstrip("\r\n").split(self._separator)

    def _restored(self, cells: list[str]) -> list[str]:
        return [cell.replace(UNIT, self._exotic) for cell in cells] if self._exotic else cells

    def _judged(self, cells: list[str]) -> str:
        return "" if len(cells) == self._width else FEW if len(cells) < self._width else MANY

    def _cut_off(self, first: int, last: int, taken: NDArray[np.bool_], others: list[Irregular]) -> None:
        """The last line has no end: what it holds may be half a number, however well it reads."""
        index = last - first - 1
        if others and taken[index]:
            others[-1] = others[-1]._replace(fault=CUT)
        else:
            others.append(Irregular(index, self._cells_of(last - 1), CUT))
            taken[index] = True

    def _span(self, line: int) -> tuple[int, int]:
        return (int(self._ends[line - 1]) + 1 if line else 0), int(self._ends[line])

    def _text_of(self, line: int) -> str:
        start, end = self._span(line)
        return self._buffer[start : end + 1].decode()

    def _fill(self, lines: int) -> bool:
        """Hold that many whole lines and, behind them, as much as a record may take; False at the end of the file."""
        while not self._at_end:
            here = len(self._ends) - self._line
            start = int(self._ends[self._line - 1]) + 1 if self._line else 0
            wanted = int(self._ends[self._line + lines - 1]) if here >= lines else start + BLOCK
            if len(self._buffer) >= wanted + self._line_limit:
                break
            self._read_on(start)
        return self._line < len(self._ends)

    def _read_on(self, start: int) -> None:
        """Replace the buffer by what is left of it and the next part of the file."""
        part = next(self._parts, None)
        left = self._buffer[start:]
        if part is None:
            self._at_end = True
            self._unended = bool(left) and not left.endswith(b"\n")
            part = b"\n" if self._unended else b""
        self._buffer = left + part
        self._ends = np.flatnonzero(np.frombuffer(self._buffer, dtype=np.uint8) == NEWLINE)
        self._line = 0
        edges = np.concatenate(([-1], self._ends, [len(self._buffer)]))
        if int(np.diff(edges).max()) > self._line_limit + 1:
            raise FileRefused(
                "line_too_long",
                f"A line is longer than {self._line_limit / 1024:,.0f} KiB.",
                "Look whether the file has line ends at all; the setting line_limit_kb is the bound.",
            )
