"""Parquet -> the same text cells as a CSV gives, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import polars as pl

from appliance import headers, parquetpages
from appliance.errors import FileRefused
from appliance.headers import Header
from appliance.profile import Profile

T = TypeVar("T")

MAGIC = b"PAR1"
_CELL = 4  # bytes of a number in a CSV, or a little more
ROWS = 500_000_000  # a few bytes can claim any number of them
TEXT = 16 * 2**20  # bytes of text in a frame, as many as a CSV brings at once


def read(
    source: Path | BinaryIO, profile: Profile, batch_rows: int, cells: int, line_limit: int, size_limit: int
) -> tuple[Header, Iterator[pl.DataFrame]]:
    """The header and an iterator of frames of at most ``batch_rows`` rows and ``cells`` cells.

    What is true of a CSV holds here: no row has more than ``line_limit`` bytes of text, and all of them together would
    not be larger than ``size_limit`` as one.
    """
    scan = _guarded(lambda: pl.scan_parquet(source, glob=False))
    schema = _guarded(scan.collect_schema)
    header = headers.read(list(schema), profile)
    known = headers.known(header.names, profile)
    readable: dict[str, pl.Expr] = {}
    columns: list[str] = []
    texts: list[pl.Expr] = []
    for name, (raw, kind) in zip(header.names, schema.items(), strict=True):
        if not (kind.is_nested() or kind in (pl.Binary, pl.Object)):
            readable[name] = _as_text(raw, name, kind, profile, name in known and known[name].type == "time")
            columns.append(raw)
            texts += _length(raw, kind)
        elif name in known:
            raise FileRefused("format", f"The column {name!r} holds {kind}.", "Export it as single values.")
    header = Header(tuple(readable), {own: list(readable).index(own) for own in header.own if own in readable})
    rows = int(_guarded(partial(_collected, scan.select(pl.len()))).item())
    if rows > ROWS:
        raise FileRefused("too_large", f"The file claims {rows:,} rows; at most {ROWS:,} are read.", "Split it.")
    size = max(1, min(batch_rows, cells // len(header.names)))

    def frames() -> Iterator[pl.DataFrame]:
        bytes_left = size_limit
        with ExitStack() as stack:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            for first, count in parquetpages.stretches(file, columns, size):
                lengths = _guarded(partial(_collected, scan.slice(first, count).select(_measured(texts)))).row(0)
                bytes_left -= lengths[0] + _CELL * count * (len(readable) - len(texts))
                _refuse_too_much(lengths[1], line_limit, bytes_left, size_limit)
                step = count if lengths[0] <= TEXT else max(1, TEXT // lengths[1])
                for start in range(first, first + count, step):
                    part = scan.slice(start, min(step, first + count - start))
                    yield _guarded(partial(_collected, part.select(readable.values())))

    return header, frames()


def _as_text(raw: str, name: str, kind: pl.DataType, profile: Profile, is_time: bool) -> pl.Expr:
    cell = pl.col(raw)
    if is_time and kind.is_temporal() and kind in (pl.Datetime, pl.Date):
        zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
        return cell.cast(pl.Datetime("us", zone)).alias(name)
    text = cell.cast(pl.String)
    if kind.is_numeric() and profile.file.decimal != ".":
        text = text.str.replace(".", profile.file.decimal, literal=True)
    return text.replace("", None).alias(name)


def _length(raw: str, kind: pl.DataType) -> Sequence[pl.Expr]:
    """Bytes of each cell, where it can have any number of them; told without making them."""
    cell = pl.col(raw)
    if kind == pl.String():
        return [cell.str.len_bytes()]
    return [cell.cat.len_bytes()] if kind in (pl.Categorical, pl.Enum) else []


def _measured(texts: Sequence[pl.Expr]) -> list[pl.Expr]:
    """All bytes of text, and those of the longest row."""
    row = pl.sum_horizontal(*texts).cast(pl.Int64) if texts else pl.lit(0, pl.Int64)
    return [row.sum().fill_null(0).alias("all"), row.max().fill_null(0).alias("longest")]


def _refuse_too_much(longest: int, line_limit: int, bytes_left: int, size_limit: int) -> None:
    if longest > line_limit:
        raise FileRefused(
            "line_too_long",
            f"A row holds more than {line_limit / 1024:,.0f} KiB of text.",
            "Look what the column with the long text is; the setting line_limit_kb is the bound.",
        )
    if bytes_left < 0:
        raise FileRefused(
            "too_large",
            f"Unpacked the file has more than {size_limit / 2**20:,.0f} MiB.",
            "Split it, or raise the setting file_limit_mb.",
        )


def _collected(query: pl.LazyFrame) -> pl.DataFrame:
    return query.collect(engine="streaming")


def _guarded(action: Callable[[], T]) -> T:
    """Run what reads foreign bytes: a damaged file ends in many kinds of errors, a panic of the parser among them."""
    try:
        return action()
    except pl.exceptions.PolarsError as error:
        raise _damaged(str(error).splitlines()[0]) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise _damaged("it is damaged") from None


def _damaged(reason: str) -> FileRefused:
    return FileRefused("format", f"The file is no readable Parquet ({reason[:200]}).", "Export it again.")
