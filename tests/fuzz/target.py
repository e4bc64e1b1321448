"""What is done to each file that the fuzzer makes: the whole road of a file but for the database. Each ends in a verdict.

A file is its bytes behind one that says what it is taken for: which profile's, CSV or Parquet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance import quality, reader
from appliance.errors import FileRefused
from appliance.gate import ByteGate, Format
from appliance.outputs import BadWriter, GoodWriter
from tests import hostile, profiles

LINE_LIMIT = 64 * 1024
_PROFILES = [profiles.load(name) for name in profiles.NAMES]
_FORMS: tuple[Format, ...] = ("csv", "parquet")
_NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Target:
    """``verdicts``: how many files ended in each."""

    def __init__(self, folder: Path) -> None:
        self.verdicts: Counter[str] = Counter()
        self._folder = folder

    def __call__(self, data: bytes) -> None:
        kind, content = (data[0], data[1:]) if data else (0, b"")
        profile, form = _PROFILES[kind & 1], _FORMS[kind >> 1 & 1]
        refusal: FileRefused | None = None
        good = bad = 0
        try:
            good, bad = self._walk(content, profile, form)
        except FileRefused as refused:
            refusal = refused
        if refusal:
            assert refusal.reason.isidentifier()
            assert refusal.message.isprintable(), refusal.message
            assert refusal.way_out
            self.verdicts[refusal.reason] += 1
        else:
            self.verdicts["all good" if not bad else "some bad" if good else "all bad"] += 1

    def _walk(self, content: bytes, profile: profiles.Profile, form: Format) -> tuple[int, int]:
        gate = ByteGate(profile, form)
        gate.feed(content)
        if refusal := gate.end():
            raise refusal
        path = self._folder / "file"
        path.write_bytes(content)
        good_path, bad_path = self._folder / "good.parquet", self._folder / "bad.csv"
        rows = good = bad = 0
        with reader.open_file(path, form, profile, line_limit=LINE_LIMIT, size_limit=2**24) as batches:
            checker = quality.Checker(profile, batches.header, "mill-1", _NOW)
            with (
                GoodWriter(good_path, profile, profile.contract_hash(), self._folder) as good_rows,
                BadWriter(bad_path, profile, batches.header, "7") as bad_rows,
            ):
                for batch in batches:
                    checked = checker.check(batch)
                    good_rows.append(checked.good)
                    bad_rows.append(checked.bad)
                    rows, good, bad = rows + batch.rows, good + checked.good.height, bad + checked.bad.height
                good_rows.commit()
                bad_rows.commit()
        assert rows == good + bad, "each row is good or bad"
        assert sum(issue.count for issue in checker.issues()) >= bad, "each bad row has a reason"
        if bad:
            self._comes_back(bad_path, bad, profile)
        return good, bad

    def _comes_back(self, path: Path, rows: int, profile: profiles.Profile) -> None:
        """The CSV of bad rows is one that we read, with as many rows, and knows where it comes from."""
        if "csv" not in profile.file.formats:
            return
        with reader.open_file(path, "csv", profile, complete=True, line_limit=8 * LINE_LIMIT) as back:
            assert back.mended
            assert sum(batch.rows for batch in back) == rows
            assert back.corrects == {"7"}


def seeds() -> Iterator[bytes]:
    """Sound and foreign files to begin with, small ones, each as either profile's."""
    import polars as pl

    table = pl.read_csv(hostile.MILL)
    wear = pl.DataFrame({"Schwingung [mm/s]": [1.0, None, 3.5], "Medium": ["water", "x", "water"]})
    for frame in (table, table.with_columns(pl.col("Type").cast(pl.Categorical)), wear):
        for codec in ("uncompressed", "snappy", "zstd"):
            yield b"\2" + hostile.parquet(frame, compression=codec)
            yield b"\3" + hostile.parquet(frame, compression=codec, row_group_size=2)
    for case in hostile.FOREIGN:
        if len(case.data) < 8192:
            for kind in (b"\0", b"\1"):
                yield kind + case.data


WORDS = [
    b'"', b'""', b",", b";", b"\r\n", b"\n", b"\r", b"\t", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"PK\x03\x04", b"PAR1",
    b"NaN", b"inf", b"1e400", b"-0", b"=1+1", b"'=1+1", b"0x1", b"1_0", b"_row", b"_reasons", b"_mend", b"_file", b"UDI", b"Pumpe",
    b"\x1f", b"\xc3", b"\xe2\x80\xae", "＝1".encode(), b"31.12.2025 24:00:00",
]  # fmt: skip
