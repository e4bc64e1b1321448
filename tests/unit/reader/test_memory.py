"""However large a file is or unpacks to, its reader takes a bounded share of memory. Seen in children of their own."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests import counts

MIB = 2**20
# Of the reader and the checks over what they take for a file of some rows. A CSV holds two blocks and a line behind
# them; a stretch of Parquet its pages, and their rows as text.
BOUND_MIB = 350
CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from appliance import intake, quality, reader
from appliance.errors import FileRefused
from tests import profiles

profile = profiles.load("pump")
raw = Path(sys.argv[1])
form = "parquet" if sys.argv[2] == "p" else "csv"

def go(path):
    seen = intake.look(raw, ["pump"])[path]
    claimed = intake.claim(seen, profile, raw.parent, 2**40)
    rows = 0
    try:
        if claimed.refusal:
            raise claimed.refusal
        with reader.open_file(claimed.path, form, profile) as batches:
            checker = quality.Checker(profile, batches.header, "", datetime.now(UTC))
            for batch in batches:
                checked = checker.check(batch)
                rows += checked.good.height + checked.bad.height
        said = "read"
    except FileRefused as refused:
        said = refused.reason
    claimed.path.unlink()
    (most,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return said, rows, int(most) // 1024

_, _, before = go(raw / "pump" / f"small.{'parquet' if form == 'parquet' else 'csv'}")
said, rows, after = go(raw / "pump" / f"large.{'parquet' if form == 'parquet' else 'csv'}")
print(said, rows, after - before)
"""
HEAD = "Pumpe;Zeitpunkt;Medium;Temperatur [\u00b0C];Schwingung [mm/s];Druck [bar]\n".encode("windows-1252")
ROW = b"P-01;01.01.2025 00:00:00;water;52,8;2,17;5,82\n"
LONG = 8 if counts.LONG else 1


def one_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEAD)
        for _ in range(512 * (4 if counts.LONG else 1)):  # 2 GiB in the long run
            file.write(b"9" * MIB)


def lines_at_the_limit(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEAD)
        for _ in range(40 * LONG):
            file.write(b"9" * (MIB - 6) + b";;;;;\n")


def quote_that_never_closes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEAD + b'"')
        for _ in range(20 * LONG):
            file.write(ROW * (MIB // len(ROW)))


def many_cells(path: Path) -> None:
    path.write_bytes(HEAD + (b";" * (MIB // 2) + b"\n") * 20 * LONG)


def texts_of_a_dictionary(path: Path) -> None:
    texts = pl.Series("Pumpe", ["x" * MIB]).new_from_index(0, 150 * LONG)
    texts.to_frame().write_parquet(path)
    assert path.stat().st_size < MIB


def categories(path: Path) -> None:
    texts = pl.Series("Pumpe", ["x" * MIB], dtype=pl.Categorical).new_from_index(0, 1000_000)
    texts.to_frame().write_parquet(path)
    assert path.stat().st_size < MIB


def texts_that_pack_well(path: Path) -> None:
    texts = pl.select(pl.lit("0" * (MIB - 8)) + pl.int_range(90 * LONG).cast(pl.String)).to_series().alias("Pumpe")
    texts.to_frame().write_parquet(path, compression="zstd", compression_level=10, row_group_size=30)
    assert path.stat().st_size < LONG * MIB


def rows_of_one_value(path: Path) -> None:
    pl.select(pl.repeat(1.0, 2_000_000).alias("vibration")).lazy().sink_parquet(path, row_group_size=2_000_000)
    assert path.stat().st_size < MIB


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (one_line, "line_too_long"),
        (lines_at_the_limit, "read"),
        (quote_that_never_closes, "read"),
        (many_cells, "read"),
        (texts_of_a_dictionary, "read"),
        (categories, "too_large"),
        (texts_that_pack_well, "read"),
        (rows_of_one_value, "read"),
    ],
)
def test_memory_is_bounded_whatever_a_file_holds(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    parquet = make in (texts_of_a_dictionary, categories, texts_that_pack_well, rows_of_one_value)
    folder = tmp_path / "raw" / "pump"
    folder.mkdir(parents=True)
    if parquet:
        small = io.BytesIO()
        pl.DataFrame({"Pumpe": ["P-01"], "vibration": [1.0]}).write_parquet(small)
        (folder / "small.parquet").write_bytes(small.getvalue())
    else:
        (folder / "small.csv").write_bytes(HEAD + ROW)
    make(folder / f"large.{'parquet' if parquet else 'csv'}")
    child = [sys.executable, "-c", CHILD, str(tmp_path / "raw"), "p" if parquet else "c"]
    told = subprocess.run(child, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    verdict, rows, mib = told.stdout.split()
    assert verdict == said, told.stderr
    assert (int(rows) > 0) == (said == "read")
    assert int(mib) <= BOUND_MIB
    print(f"{make.__name__}: {verdict}, {rows} rows, {mib} MiB")
