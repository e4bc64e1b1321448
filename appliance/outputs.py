"""The files that a checked file becomes: one Parquet of good rows, one CSV of bad rows.

Both appear whole or not at all: they are written under a temporary name, made durable, renamed into place, and the
folder is made durable too. Memory is bounded by one batch.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from appliance import headers
from appliance.durable import sync_folder
from appliance.profile import ROW, Profile
from appliance.spreadsheet import FILE, MEND, REASONS, ROW_NUMBER, inert, inert_cells, kept_time

# Rows of a row group at most: reading a part touches only the groups that hold it.
GROUP_ROWS = 100_000
_UNIT = b"\x1f"
_SEGMENTS = "good-"


_METADATA = ("contract_hash", "profile", "units")


class GoodWriter:
    """Appends batches of good rows; :meth:`commit` makes them one Parquet file at ``path``.

    Its metadata hold ``contract_hash``, ``profile`` and ``units`` (JSON by column). Batches wait as segments in
    ``work``; what is not committed is dropped on leaving the context.
    """

    def __init__(self, path: Path, profile: Profile, contract_hash: str, work: Path) -> None:
        units = {column.name: column.unit for column in profile.columns if column.unit}
        self._metadata = {
            "contract_hash": contract_hash,
            "profile": profile.name,
            "units": json.dumps(units, ensure_ascii=False),
        }
        self._path = path
        self._segments = work / f"{_SEGMENTS}{secrets.token_hex(8)}"
        self._count = 0
        self._rows = 0

    def __enter__(self) -> Self:
        self._segments.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._segments, ignore_errors=True)
        _temporary(self._path).unlink(missing_ok=True)

    def append(self, rows: pl.DataFrame) -> None:
        """Add validated rows, in the order of the file."""
        if not rows.height:
            return
        rows.write_parquet(self._segments / f"{self._count:06}.parquet", compression="lz4", statistics=False)
        self._count += 1
        self._rows += rows.height

    def commit(self) -> int:
        """Put the file into place; the number of its rows. Without rows there is no file."""
        if self._rows:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            segments = sorted(self._segments.glob("*.parquet"))
            pl.scan_parquet(segments, glob=False).sink_parquet(
                _temporary(self._path), row_group_size=GROUP_ROWS, metadata=self._metadata, engine="streaming"
            )
            _into_place(self._path)
        return self._rows


class BadWriter:
    """Appends bad rows; :meth:`commit` makes them one CSV at ``path`` that a person mends in a spreadsheet.

    It has the profile's separator and decimal sign and the cells as they came, but for those that a spreadsheet would
    run as a formula, and our columns ``_row``, ``_reasons``, ``_mend`` and ``_file``; where the rows name their time,
    ``_time_was`` too. It is UTF-8 with a mark, which spreadsheets and the reader recognise under any profile: no cell
    is lost that the profile's encoding lacks.
    """

    def __init__(self, path: Path, profile: Profile, header: Sequence[str], file_id: str) -> None:
        separator = profile.file.separator
        self._exotic = b"" if separator.isascii() else separator.encode()
        self._separator = separator if separator.isascii() else _UNIT.decode()
        self._path = path
        self._header = list(header)
        self._time = headers.time_of(header, profile)
        self._file_id = file_id
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _temporary(self._path).unlink(missing_ok=True)

    def append(self, bad: pl.DataFrame) -> None:
        """Add bad rows, as :class:`appliance.quality.Checked` holds them."""
        if not bad.height:
            return
        cells = bad.select(
            *(inert_cells(name) for name in self._header),
            pl.col(ROW).cast(pl.String).alias(ROW_NUMBER),
            inert_cells(REASONS),
            inert_cells(MEND),
            *([kept_time(self._time)] if self._time else []),
            pl.lit(self._file_id).alias(FILE),
        )
        if not self._rows:
            cells = cells.rename({name: inert(name) for name in self._header})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(self._path).open("ab" if self._rows else "wb") as file:
            target = io.BytesIO() if self._exotic else file
            cells.write_csv(
                target,
                separator=self._separator,
                line_terminator="\r\n",
                include_header=not self._rows,
                include_bom=not self._rows,
                quote_style="always" if self._exotic else "necessary",
            )
            if isinstance(target, io.BytesIO):
                file.write(target.getvalue().replace(_UNIT, self._exotic))
        self._rows += bad.height

    def commit(self) -> int:
        """Put the file into place; the number of its rows. Without rows there is no file."""
        if self._rows:
            _into_place(self._path)
        return self._rows


def put(path: Path, data: bytes) -> None:
    """Another file that belongs to a checked one, such as its report: whole, durable, or not there."""
    _temporary(path).write_bytes(data)
    _into_place(path)


def discard(path: Path) -> None:
    """Remove an output that was never committed, finished or not."""
    path.unlink(missing_ok=True)
    _temporary(path).unlink(missing_ok=True)


def tidy(work: Path) -> None:
    """Remove the segments that a killed pass left in ``work``; no pass may be running."""
    for left in work.glob(f"{_SEGMENTS}*"):
        shutil.rmtree(left, ignore_errors=True)


def read_part(path: Path, first: int, rows: int) -> pl.DataFrame:
    """Rows ``first`` (from 0) to ``first + rows`` of a Parquet of good rows, without reading the others."""
    return pl.scan_parquet(path, glob=False).slice(first, rows).collect(engine="streaming")


def good_metadata(path: Path) -> dict[str, str]:
    """What :class:`GoodWriter` wrote beside the rows."""
    return {name: value for name, value in pl.read_parquet_metadata(path).items() if name in _METADATA}


def _temporary(path: Path) -> Path:
    """The same name for the same file: what a killed pass left is replaced by the next."""
    return path.with_name(f".{path.name}.tmp")


def _into_place(path: Path) -> None:
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)
