"""Parquet -> the same text cells as a CSV gives, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import polars as pl

from appliance import headers
from appliance.errors import FileRefused
from appliance.headers import Header
from appliance.profile import Profile

T = TypeVar("T")

MAGIC = b"PAR1"
ROWS = 500_000_000  # a few bytes can claim any number of them


def read(
    source: Path | BinaryIO, profile: Profile, batch_rows: int, cells: int
) -> tuple[Header, Iterator[pl.DataFrame]]:
    """The header and an iterator of frames of at most ``batch_rows`` rows and ``cells`` cells."""
    scan = _guarded(lambda: pl.scan_parquet(source, glob=False))
    schema = _guarded(scan.collect_schema)
    header = headers.read(list(schema), profile)
    known = headers.known(header.names, profile)
    readable: dict[str, pl.Expr] = {}
    for name, (raw, kind) in zip(header.names, schema.items(), strict=True):
        if not (kind.is_nested() or kind in (pl.Binary, pl.Object)):
            readable[name] = _as_text(raw, name, kind, profile, name in known and known[name].type == "time")
        elif name in known:
            raise FileRefused("format", f"The column {name!r} holds {kind}.", "Export it as single values.")
    header = Header(tuple(readable), {own: list(readable).index(own) for own in header.own if own in readable})
    rows = int(_guarded(partial(_collected, scan.select(pl.len()))).item())
    if rows > ROWS:
        raise FileRefused("too_large", f"The file claims {rows:,} rows; at most {ROWS:,} are read.", "Split it.")
    size = max(1, min(batch_rows, cells // len(header.names)))

    def frames() -> Iterator[pl.DataFrame]:
        for first in range(0, rows, size):
            yield _guarded(partial(_collected, scan.slice(first, size).select(readable.values())))

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
