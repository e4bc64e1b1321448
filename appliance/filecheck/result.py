"""What became of a checked file: figures, the rows that matter most, and the whole file with its predictions."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from appliance import reader
from appliance.filecheck.folder import Folder
from appliance.gate import Format
from appliance.profile import ROW, Profile
from appliance.spreadsheet import REASONS, inert, inert_cells

BINS = 20
_LINES = 20_000  # at a time, of the whole file
_UNIT = "\x1f"
_GIVEN = ("_id", "_probability", "_failing", "_reason", "_late", "_outside")
_REJECTED = "_rejected"


def figures(rows: pl.DataFrame, modes: Sequence[str]) -> dict[str, Any]:
    """Counts of one part's predictions: rows and failing ones by probability, and failing ones by their likeliest mode."""
    failing = rows["_failing"].to_numpy()
    place = np.minimum((rows["_probability"].to_numpy() * BINS).astype(np.int64), BINS - 1)
    told: Counter[str] = Counter()
    if modes and failing.any():
        worst = rows.filter(pl.Series(failing)).select(f"_mode_{name}" for name in modes).to_numpy().argmax(axis=1)
        told.update(modes[at] for at in worst.tolist())
    return {
        "failing": int(failing.sum()),
        "outside": int(rows["_outside"].sum()),
        "bins": [np.bincount(place[failing == kind], minlength=BINS).tolist() for kind in (False, True)],
        "modes": dict(told),
    }


def summed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of all parts that are predicted."""
    passing, failing = ([sum(part["bins"][kind][at] for part in parts) for at in range(BINS)] for kind in (0, 1))
    modes: Counter[str] = Counter()
    for part in parts:
        modes.update(part["modes"])
    return {
        "rows": sum(part["rows"] for part in parts),
        "failing": sum(part["failing"] for part in parts),
        "outside": sum(part["outside"] for part in parts),
        "parts": len(parts),
        "first_at": parts[0]["predicted_at"] if parts else None,
        "last_at": parts[-1]["predicted_at"] if parts else None,
        "modes": [{"name": name, "rows": count} for name, count in modes.most_common()],
        "histogram": [
            {"from": at / BINS, "to": (at + 1) / BINS, "passing": passing[at], "failing": failing[at]}
            for at in range(BINS)
        ],
    }


def likeliest(folder: Folder, done: int, limit: int, offset: int, failing: bool | None) -> list[dict[str, Any]]:
    """Predicted rows, those likeliest to fail first, with the values of their readings by the profile's names."""
    if not done:
        return []
    scores = _predictions(folder, done).select(ROW, "_probability", "_failing")
    if failing is not None:
        scores = scores.filter(pl.col("_failing") if failing else ~pl.col("_failing"))
    first = scores.sort("_probability", ROW, descending=[True, False]).slice(offset, limit).collect(engine="streaming")
    wanted = first[ROW]
    given = _predictions(folder, done).filter(pl.col(ROW).is_in(wanted.implode())).collect(engine="streaming")
    values = pl.scan_parquet(folder.good, glob=False).filter(pl.col(ROW).is_in(wanted.implode()))
    whole = first.select(ROW).join(given, on=ROW, maintain_order="left")
    return whole.join(values.collect(engine="streaming"), on=ROW, maintain_order="left").to_dicts()


def csv(folder: Folder, profile: Profile, form: Format, line_limit: int, done: int) -> Iterator[bytes]:
    """The whole file as it came, each row with its prediction or with the reasons why it has none.

    In the profile's separator and decimal sign, so that what opened the file opens this; UTF-8 with a mark, and no cell
    that a spreadsheet would run.
    """
    separator = profile.file.separator if profile.file.separator.isascii() else _UNIT
    modes = [f"_mode_{mode.name}" for mode in profile.modes]
    given = [*_GIVEN[:3], *modes, *_GIVEN[3:]]
    first = True
    opened = reader.open_file(folder.upload, form, profile, batch_rows=_LINES, line_limit=line_limit, complete=True)
    with opened as batches:
        for batch in batches:
            least, most = cast(int, batch.frame[ROW].min()), cast(int, batch.frame[ROW].max())
            between = pl.col(ROW).is_between(least, most)
            # Who hands in what we gave out has our columns already; they are made anew.
            table = batch.frame.select(pl.exclude(*given, _REJECTED))
            names = [name for name in table.columns if name != ROW]
            if done:
                rows = _predictions(folder, done).filter(between).collect()
                table = table.join(rows.select(ROW, *given), on=ROW, how="left", maintain_order="left")
            refused = pl.scan_parquet(folder.reasons, glob=False).filter(between).collect()
            refused = refused.rename({REASONS: _REJECTED})
            table = table.join(refused, on=ROW, how="left", maintain_order="left")
            cells = [_cell(name, table.schema[name]) for name in names]
            added = [_number(name, table.schema[name], profile) for name in table.columns if name in given]
            yield _lines(table.select(ROW, *cells, *added, inert_cells(_REJECTED)), separator, first, profile)
            first = False


def parquet(folder: Folder, profile: Profile, done: int, target: Path) -> None:
    """The predicted rows as typed columns under the names of the file, with their predictions."""
    names = {column.name: column.header for column in profile.columns}
    good = pl.scan_parquet(folder.good, glob=False)
    whole = good.join(_predictions(folder, done), on=ROW, maintain_order="left")
    present = {name: header for name, header in names.items() if name in good.collect_schema()}
    whole.rename(present).sink_parquet(target, compression="zstd", engine="streaming")


def _predictions(folder: Folder, done: int) -> pl.LazyFrame:
    return pl.scan_parquet([folder.rows_of_part(number) for number in range(done)], glob=False)


def _cell(name: str, kind: pl.DataType) -> pl.Expr:
    return inert_cells(name) if kind == pl.String() else pl.col(name)


def _number(name: str, kind: pl.DataType, profile: Profile) -> pl.Expr:
    """A figure of ours as the machine would write it."""
    if kind == pl.Boolean():
        return pl.col(name).cast(pl.Int8).alias(name)
    if kind == pl.String():
        return inert_cells(name)
    if kind.is_float() and profile.file.decimal != ".":
        return pl.col(name).cast(pl.String).str.replace(".", profile.file.decimal, literal=True).alias(name)
    return pl.col(name)


def _lines(table: pl.DataFrame, separator: str, header: bool, profile: Profile) -> bytes:
    buffer = io.BytesIO()
    exotic = separator != profile.file.separator
    if header:
        table = table.rename({name: inert(name) for name in table.columns})  # a stranger wrote them too
    table.write_csv(
        buffer,
        separator=separator,
        line_terminator="\r\n",
        include_header=header,
        include_bom=header,
        quote_style="always" if exotic else "necessary",
    )
    made = buffer.getvalue()
    return made.replace(_UNIT.encode(), profile.file.separator.encode()) if exotic else made
