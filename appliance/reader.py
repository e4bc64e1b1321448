"""A claimed file, or the body of a request -> batches of text cells, bounded in memory.

Nothing is judged here but whether rows can be told apart: values stay text, so that one set of rules
(:mod:`appliance.quality`) judges every format.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import headers, parquetrows
from appliance.batches import CUT_OFF, TOO_FEW, TOO_MANY, UNMENDED, UNSOUND, WHOLE, Batch, numbered
from appliance.decoding import UNDECODED, wrong_encoding
from appliance.errors import FileRefused
from appliance.gate import ByteGate, Format
from appliance.headers import Header
from appliance.jsonrows import rows_to_batch
from appliance.lines import BROKEN, CUT, FEW, MANY, Block, Irregular, Lines
from appliance.profile import Profile
from appliance.spreadsheet import FILE, MEND, TIME_WAS, original_cells, whole_time

__all__ = [
    "BATCH_ROWS",
    "LINE_LIMIT",
    "Batch",
    "Format",
    "Reader",
    "look_at",
    "open_file",
    "read_bytes",
    "rows_to_batch",
]

BATCH_ROWS = 100_000
LINE_LIMIT = 2**20
BLOCK = 2**20
SIZE_LIMIT = 2**31  # of what a Parquet file unpacks to
CELLS = 4_000_000  # in a batch, however many rows the caller wants
FILES_NAMED = 100  # in the lineage of a mended file

_DAMAGE = {"": WHOLE, FEW: TOO_FEW, MANY: TOO_MANY, BROKEN: UNSOUND, CUT: CUT_OFF}
_LABELS = {MANY: "too many cells", BROKEN: "quotes or line end", CUT: "cut off"}
_FILE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class _Table(NamedTuple):
    cells: pl.DataFrame  # all columns of the header line, our own included
    damage: NDArray[np.uint8]
    mend: pl.Series


class Reader:
    """Batches of one file, to be gone through once; a context manager.

    ``header``: the machine's columns in file order. ``corrects``: ids of the files whose bad rows came back in this
    one, complete once all batches are read. :class:`FileRefused` comes at opening or from the iteration.
    """

    def __init__(self, header: Header, profile: Profile, tables: Iterator[_Table], close: Callable[[], None]) -> None:
        self.header = header.columns
        self.mended = header.mended
        self.corrects: frozenset[str] = frozenset()
        self.row_limit: int | None = None
        self._layout = header
        self._time = headers.time_of(header.columns, profile) if TIME_WAS in header.own else None
        self._tables = tables
        self._close = close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Batch]:
        row = 1
        for table in self._tables:
            if not table.cells.height:
                continue
            if self.row_limit is not None and row - 1 + table.cells.height > self.row_limit:
                raise FileRefused("too_large", f"There are more than {self.row_limit:,} rows.", "Send them in parts.")
            yield self._batch(table, row)
            row += table.cells.height
        if row == 1:
            raise FileRefused("no_rows", "The file holds a header and no rows.", "Drop it again once it has rows.")

    def _batch(self, table: _Table, row: int) -> Batch:
        cells = table.cells if self._time is None else table.cells.with_columns(whole_time(self._time))
        cells = cells.select(self.header)
        damage, mend = table.damage, table.mend
        if self.mended:
            cells = cells.with_columns(original_cells(name) for name in self.header)
            if FILE in self._layout.own:
                found = table.cells[FILE].drop_nulls().str.strip_chars().unique().to_list()
                ids = sorted(self.corrects | {name for name in found if _FILE_ID.fullmatch(name)})
                self.corrects = frozenset(ids[:FILES_NAMED])
            if MEND in self._layout.own:
                left = table.cells[MEND].str.strip_chars().replace("", None)
                open_rows = left.is_not_null().to_numpy() & (damage == WHOLE)
                damage = np.where(open_rows, np.uint8(UNMENDED), damage)
                mend = left.zip_with(pl.Series(open_rows), mend).alias(MEND)
        return Batch(numbered(cells, row), damage, mend)


def look_at(path: Path, form: Format, profile: Profile) -> None:
    """The gate of dropped files, for one that did not come through it; FileRefused where its bytes are no such file."""
    gate = ByteGate(profile, form)
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            gate.feed(block)
    if refusal := gate.end():
        raise refusal


def open_file(
    path: Path,
    form: Format,
    profile: Profile,
    *,
    batch_rows: int = BATCH_ROWS,
    line_limit: int = LINE_LIMIT,
    size_limit: int = SIZE_LIMIT,
    row_limit: int | None = None,
    complete: bool = False,
) -> Reader:
    """Open a claimed copy; its last line may have been cut off where the profile says that lines always end, unless the
    file is known to be ``complete``. Refused beyond ``row_limit`` rows, and where it unpacks to more than ``size_limit``
    bytes."""
    if form == "parquet":
        reader = _parquet(path, profile, batch_rows, line_limit, size_limit)
    else:
        source = path.open("rb")
        try:
            must_end = profile.file.ends_with_newline and not complete
            reader = _csv(source, profile, batch_rows, line_limit, must_end=must_end)
        except BaseException:
            source.close()
            raise
    reader.row_limit = row_limit
    return reader


def read_bytes(
    data: bytes,
    form: Format,
    profile: Profile,
    *,
    batch_rows: int = BATCH_ROWS,
    line_limit: int = LINE_LIMIT,
    row_limit: int | None = None,
) -> Reader:
    """The same for the body of a request, whose end is known to be its end; refused beyond ``row_limit`` rows.

    It passes the gate of dropped files first, so that the same bytes are refused for the same reason everywhere.
    """
    gate = ByteGate(profile, form)
    gate.feed(data)
    if refusal := gate.end():
        raise refusal
    source = io.BytesIO(data)
    if form == "parquet":
        reader = _parquet(source, profile, batch_rows, line_limit, SIZE_LIMIT)
    else:
        reader = _csv(source, profile, batch_rows, line_limit, must_end=False)
    reader.row_limit = row_limit
    return reader


def _csv(source: BinaryIO, profile: Profile, batch_rows: int, line_limit: int, *, must_end: bool) -> Reader:
    form = profile.file
    lines = Lines(source, form.encoding, form.separator, line_limit, must_end=must_end)
    cells = lines.header()
    if any(UNDECODED in cell for cell in cells):
        raise wrong_encoding("another encoding", form.encoding)
    header = headers.read(cells, profile)
    rows = max(1, min(batch_rows, CELLS // len(header.names)))

    def tables() -> Iterator[_Table]:
        while (block := lines.block(rows)) is not None:
            yield _table(block, header.names)

    return Reader(header, profile, tables(), source.close)


def _parquet(source: Path | BinaryIO, profile: Profile, batch_rows: int, line_limit: int, size_limit: int) -> Reader:
    header, frames = parquetrows.read(source, profile, batch_rows, CELLS, line_limit, size_limit)

    def tables() -> Iterator[_Table]:
        for frame in frames:
            whole = Batch.of(frame)
            yield _Table(frame, whole.damage, whole.mend)

    return Reader(header, profile, tables(), lambda: None)


def _table(block: Block, names: Sequence[str]) -> _Table:
    plain = _split(block, names)
    if not block.others:
        whole = Batch.of(plain)
        return _Table(plain, whole.damage, whole.mend)
    width = len(names)
    rows = [o.cells if len(o.cells) == width else (o.cells + [""] * width)[:width] for o in block.others]
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
    others = pl.DataFrame(by_name, schema=dict.fromkeys(names, pl.String)).with_columns(
        pl.when(pl.all() != "").then(pl.all())
    )
    order = np.argsort(np.concatenate((block.plain_lines, [other.line for other in block.others])))
    damage = np.array([WHOLE] * plain.height + [_DAMAGE[other.fault] for other in block.others], dtype=np.uint8)
    texts = [_to_mend(other, width, block.separator) for other in block.others]
    mend = pl.Series(MEND, [None] * plain.height + texts, dtype=pl.String)
    return _Table(pl.concat([plain, others])[order], damage[order], mend[order])


def _split(block: Block, names: Sequence[str]) -> pl.DataFrame:
    schema = dict.fromkeys(names, pl.String)
    if not block.plain:
        return pl.DataFrame(schema=schema)
    # Polars looks at the first bytes and drops a byte order mark, or unpacks what it takes for a compressed file, as
    # "x^" may begin one. They are a row of ours.
    first = block.separator * (len(names) - 1)
    frame = pl.read_csv(
        f"-{first}\n".encode() + block.plain,
        has_header=False,
        schema=schema,
        separator=block.separator,
        quote_char=None,
        eol_char="\n",
    ).slice(1)
    if frame.height != len(block.plain_lines):
        raise FileRefused(
            "format",
            f"{len(block.plain_lines)} lines gave {frame.height} rows: their cells cannot be told apart.",
            "Export the file without control characters.",
        )
    return frame


def _to_mend(other: Irregular, width: int, separator: str) -> str | None:
    """What a person sees in the column `_mend` and has to put right."""
    if not other.fault:
        return None
    if other.fault == FEW:
        return f"{len(other.cells)} of {width} cells"
    surplus = separator.join(other.cells[width:])
    return f"{_LABELS[other.fault]}: {surplus}" if surplus else _LABELS[other.fault]
