"""Bytes that strangers send, each with the verdict that every way in must give: the drop folder and the API alike.

Each ``what`` is a row of docs/hostile-files.md.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from model.plants import PLANTS, csv_bytes

ROWS = 20
LINE_LIMIT_KB = 1024  # of a box

MILL = csv_bytes(PLANTS["milling"](), ROWS, seed=11)
PUMP = csv_bytes(PLANTS["pump"](), ROWS, seed=11)
HEAD, *LINES = MILL.splitlines(keepends=True)


@dataclass(frozen=True)
class Foreign:
    """``word``: the reason of the refusal, '' where its rows are taken; ``bad``: those that are not, by rule."""

    what: str
    data: bytes
    word: str = ""
    bad: Mapping[str, int] = field(default_factory=dict)
    name: str = "a.csv"
    profile: str = "milling"
    rows: int = ROWS


def cells(column: int, *values: str, rows: bytes = MILL, separator: str = ",") -> bytes:
    """The first rows with other cells in that column."""
    lines = rows.splitlines(keepends=True)
    for number, value in enumerate(values, start=1):
        line = lines[number].split(separator.encode())
        line[column] = value.encode()
        lines[number] = separator.encode().join(line)
    return b"".join(lines)


def columns(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return b"".join(b",".join(change(line.split(b","))) + b"\n" for line in MILL.splitlines())


def zipped(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return target.getvalue()


def parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target, **options)
    return target.getvalue()


_BOMB = MILL + b"\n" * (30 << 20)
_PARQUET = parquet(pl.read_csv(MILL))
_WIDE = b",".join([HEAD.strip(), *(b"x%d" % n for n in range(10_000 - len(HEAD.split(b","))))]) + b"\n"

FOREIGN = [
    Foreign("empty file", b"", "empty"),
    Foreign("header without rows", HEAD, "no_rows"),
    Foreign("another table", b"one,two\n1,2\n", "header"),
    Foreign("gzip bomb named .csv", gzip.compress(_BOMB, mtime=0), "compressed"),
    Foreign("ZIP bomb named .csv", zipped(_BOMB), "compressed"),
    Foreign("xz bomb named .csv", lzma.compress(_BOMB, preset=0), "compressed"),
    Foreign("bzip2 bomb named .csv", bz2.compress(_BOMB), "compressed"),
    Foreign("Parquet named .csv", _PARQUET, "format"),
    Foreign("CSV named .parquet", MILL, "format", name="a.parquet"),
    Foreign("half a Parquet file", _PARQUET[:-20], "format", name="a.parquet"),
    Foreign("NUL bytes", MILL + b"1,\0\n", "nul_bytes"),
    Foreign("UTF-16 under a UTF-8 profile", MILL.decode().encode("utf-16"), "encoding"),
    Foreign("UTF-16 without its mark", MILL.decode().encode("utf-16-le"), "encoding"),
    Foreign("UTF-32", MILL.decode().encode("utf-32"), "encoding"),
    Foreign("Latin-1 in a cell under a UTF-8 profile", MILL.replace(b",M1", b",\xe41", 1), bad={"encoding": 1}),
    Foreign("Latin-1 in the header under a UTF-8 profile", MILL.replace(b"UDI", b"Z\xe4hler", 1), "encoding"),
    Foreign("byte order mark", b"\xef\xbb\xbf" + MILL),
    Foreign("CRLF", MILL.replace(b"\n", b"\r\n")),
    Foreign("carriage returns alone", MILL.replace(b"\n", b"\r")),
    Foreign("semicolons under a profile with commas", MILL.replace(b",", b";"), "header"),
    Foreign("commas under a profile with semicolons", PUMP.replace(b";", b","), "header", profile="pump"),
    Foreign("semicolons and decimal commas, as the profile says", PUMP, profile="pump"),
    Foreign(
        "decimal points under a profile with decimal commas",
        cells(3, "52.8", "1.052,8", rows=PUMP, separator=";"),
        bad={"type": 2},
        profile="pump",
    ),
    Foreign(
        "time without its seconds, as Excel shows it",
        cells(1, "01.01.2025 00:00", rows=PUMP, separator=";"),
        bad={"time": 1},
        profile="pump",
    ),
    Foreign("10,000 columns", _WIDE + MILL, "too_many_columns"),
    Foreign("line over the limit", HEAD + b"9" * (1 + (LINE_LIMIT_KB << 10)) + b"\n" + LINES[0], "line_too_long"),
    Foreign("quote in the header that never closes", MILL.replace(b"Type", b'"Type', 1), "quotes"),
    Foreign("quote in one row that never closes", MILL.replace(b",M1", b',"M1', 1), bad={"cells": 1}),
    Foreign("quotes that never close in thousands of rows", HEAD + b'1,"M1"4860,M\n' * 2000, "quotes"),
    Foreign("formula in a cell", cells(1, '"=HYPERLINK(""http://x"")"', "@SUM(A1)"), bad={"formula": 2}),
    Foreign("NaN, inf, 1e400", cells(6, "NaN", "inf", "-Infinity", "1e400", "-1e400"), bad={"not_finite": 5}),
    Foreign("too few and too many cells", cells(6, "1,1").replace(LINES[2], b"3,L47182\n"), bad={"cells": 2}),
    Foreign("the same column twice", columns(lambda line: [*line, line[6]]), "duplicate_column"),
    Foreign("columns in another order", columns(lambda line: line[::-1])),
    Foreign("columns that nobody knows", columns(lambda line: [*line, b"x"])),
    Foreign("a column that is missing", columns(lambda line: line[:6] + line[7:]), bad={"missing_column": ROWS}),
    Foreign("rows twice in a file", MILL + LINES[3], bad={"duplicate_row": 1}, rows=ROWS + 1),
]
