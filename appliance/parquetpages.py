"""How much a Parquet file unpacks to, told by its footer and its page headers before anything is unpacked.

A kilobyte of them can stand for gigabytes. So rows are read in stretches whose pages are small enough, and a file of
which one row alone would take too much is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from appliance.errors import FileRefused
from appliance.thrift import Damaged, Struct, number, read_struct, structs

FOOTER = 64 * 2**20
PAGES = 1_000_000
PAGE = 64 * 2**20  # unpacked; writers make them of about one
# Of all pages that hold rows of a stretch: so much is read at once, and more only where a single row needs it.
STRETCH, MOST = 64 * 2**20, 512 * 2**20
_HEAD = 4096  # a page header without statistics is far shorter
_LONGEST_HEAD = 2**20

# Of parquet.thrift: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, PageHeader and what is in it.
_ROW_GROUPS = 4
_COLUMNS, _GROUP_ROWS = 1, 3
_META = 3
_PATH, _VALUES, _PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 3, 5, 7, 9, 11
_TYPE, _UNPACKED_SIZE, _PACKED_SIZE, _DATA, _DATA_V2 = 1, 2, 3, 5, 8
_DICTIONARY_PAGE = 2
_PAGE_VALUES = 1
_ENCODING = {_DATA: 2, _DATA_V2: 4}
_DELTA_STRINGS = 7  # each value takes over the beginning of the one before: a few bytes, any length


@dataclass(frozen=True, slots=True)
class _Column:
    """``ends``: the row behind each page; ``sizes``: unpacked bytes up to it; ``always``: of the dictionary."""

    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]
    always: int

    def cost(self, first: int, end: int) -> int:
        """Unpacked bytes of the pages that hold these rows."""
        before = int(np.searchsorted(self.ends, first, side="right"))
        last = min(int(np.searchsorted(self.ends, end, side="left")), len(self.ends) - 1)
        return self.always + int(self.sizes[last] - (self.sizes[before - 1] if before else 0))


def stretches(source: BinaryIO, names: Collection[str], most: int) -> Iterator[tuple[int, int]]:
    """(first row, rows) of the whole file: at most ``most`` rows each, and few enough that the pages of the columns
    ``names`` unpack to a bounded size. FileRefused where that cannot be, or where the file is damaged."""
    first = rows = unpacked = 0
    try:
        for count, cost in _pieces(source, names, most):
            if rows + count > most or unpacked + cost > STRETCH:
                if rows:
                    yield first, rows
                first, rows, unpacked = first + rows, 0, 0
            rows, unpacked = rows + count, unpacked + cost
    except Damaged:
        said = "The file is no readable Parquet (its pages are damaged)."
        raise FileRefused("format", said, "Export it again.") from None
    if rows:
        yield first, rows


def _pieces(source: BinaryIO, names: Collection[str], most: int) -> Iterator[tuple[int, int]]:
    """(rows, unpacked bytes) of pieces, each within one group of rows."""
    size = source.seek(0, 2)
    left = PAGES
    for group in structs(_footer(source, size), _ROW_GROUPS):
        found = []
        for chunk in structs(group, _COLUMNS):
            meta = chunk.get(_META)
            if not isinstance(meta, dict):
                raise Damaged
            if _name(meta) in names:
                if number(meta, _VALUES) != number(group, _GROUP_ROWS):
                    raise Damaged
                column, used = _pages(source, size, meta, left)
                left -= used
                found.append(column)
        if not found:
            raise Damaged
        yield from _cut(found, number(group, _GROUP_ROWS), most)


def _cut(columns: Sequence[_Column], rows: int, most: int) -> Iterator[tuple[int, int]]:
    """The rows of a group in pieces that are as long as fits."""
    start = 0
    while start < rows:
        room = max(STRETCH, _cost(columns, start, 1))
        if room > MOST:
            raise FileRefused(
                "too_large",
                f"The pages that hold one row unpack to {room / 2**20:,.0f} MiB, over the limit of {MOST >> 20} MiB.",
                "Export the file with smaller pages, or as CSV.",
            )
        count, over = min(most, rows - start), 0
        if _cost(columns, start, count) > room:
            count, over = 1, count
        while over - count > 1:
            middle = (count + over) // 2
            if _cost(columns, start, middle) <= room:
                count = middle
            else:
                over = middle
        yield count, _cost(columns, start, count)
        start += count


def _cost(columns: Sequence[_Column], start: int, count: int) -> int:
    return sum(column.cost(start, start + count) for column in columns)


def _name(meta: Struct) -> str | None:
    """Of a column that holds single values."""
    path = meta.get(_PATH)
    if not isinstance(path, list):
        raise Damaged
    return path[0].decode(errors="replace") if len(path) == 1 and isinstance(path[0], bytes) else None


def _footer(source: BinaryIO, size: int) -> Struct:
    source.seek(size - 8)
    length = int.from_bytes(source.read(4), "little")
    if length > min(FOOTER, size - 12):
        raise Damaged
    source.seek(size - 8 - length)
    return read_struct(source.read(length))[0]


def _pages(source: BinaryIO, size: int, meta: Struct, most: int) -> tuple[_Column, int]:
    offsets = [number(meta, _DATA_OFFSET), number(meta, _DICTIONARY_OFFSET, 0)]
    at = min(offset for offset in offsets if offset > 0) if max(offsets) > 0 else 0
    end = at + number(meta, _PACKED)
    values = number(meta, _VALUES)
    if not 4 <= at <= end <= size:
        raise Damaged
    ends: list[int] = []
    sizes: list[int] = []
    rows = unpacked = always = pages = 0
    while rows < values:
        if at >= end:
            raise Damaged
        pages += 1
        if pages > most:
            raise FileRefused("format", f"The file has more than {PAGES:,} pages.", "Export it with larger ones.")
        header, length = _header(source, at, end)
        packed, large = number(header, _PACKED_SIZE), number(header, _UNPACKED_SIZE)
        if large > PAGE:
            raise FileRefused(
                "too_large",
                f"A page of the file unpacks to {large / 2**20:,.0f} MiB, over the limit of {PAGE >> 20} MiB.",
                "Export the file with smaller pages, or as CSV.",
            )
        if number(header, _TYPE) == _DICTIONARY_PAGE:
            always += large
        elif kind := next((kind for kind in (_DATA, _DATA_V2) if isinstance(header.get(kind), dict)), None):
            inner = header[kind]
            assert isinstance(inner, dict)
            if number(inner, _ENCODING[kind]) == _DELTA_STRINGS:
                raise FileRefused(
                    "format",
                    "The file packs texts as differences (DELTA_BYTE_ARRAY): how large they are is not told.",
                    "Export it with the plain or the dictionary encoding.",
                )
            rows += number(inner, _PAGE_VALUES)
            unpacked += large
            ends.append(rows)
            sizes.append(unpacked)
        at += length + packed
    return _Column(np.array(ends or [0], np.int64), np.array(sizes or [0], np.int64), always), pages


def _header(source: BinaryIO, at: int, end: int) -> tuple[Struct, int]:
    for room in (_HEAD, _LONGEST_HEAD):
        source.seek(at)
        try:
            return read_struct(source.read(min(room, end - at)))
        except Damaged:
            if room == _LONGEST_HEAD:
                raise
    raise Damaged
