"""What a Parquet file unpacks to is told before it is unpacked, whoever wrote it."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import parquetpages, parquetrows
from appliance.errors import FileRefused
from appliance.parquetpages import stretches
from appliance.reader import read_bytes
from appliance.thrift import Damaged, read_struct
from tests import profiles
from tests.unit.reader.rows import refusal, text_profile

PUMP = profiles.load("pump")
KIB = 1024


def written(table: pa.Table, **options: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()


def numbers(rows: int) -> pa.Table:
    values = np.random.default_rng(1).normal(size=rows)
    nulls = np.arange(rows) % 7 == 0
    return pa.table({"vibration": pa.array(values, mask=nulls), "Pumpe": [f"P-{n % 90:02}" for n in range(rows)]})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["NONE", "SNAPPY", "GZIP", "ZSTD", "LZ4", "BROTLI"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_stretches_hold_each_row_once_whoever_wrote_them(
    monkeypatch: pytest.MonkeyPatch, version: str, codec: str, dictionary: bool
) -> None:
    options = {"data_page_version": version, "compression": codec, "use_dictionary": dictionary}
    data = written(numbers(20_000), row_group_size=7000, data_page_size=4 * KIB, **options)
    monkeypatch.setattr(parquetpages, "STRETCH", 40 * KIB)
    found = list(stretches(io.BytesIO(data), ["vibration", "Pumpe"], 3000))
    assert [first for first, _ in found] == [0, *np.cumsum([count for _, count in found])[:-1]]
    assert sum(count for _, count in found) == 20_000
    assert len(found) > 20_000 // 3000 + 1, "the pages bound them, not the rows"
    with read_bytes(data, "parquet", PUMP) as reader:
        read = pl.concat([batch.frame for batch in reader])
    assert read["Pumpe"].to_list() == [f"P-{n % 90:02}" for n in range(20_000)]
    assert read["vibration"].null_count() == 20_000 // 7 + 1


def test_small_groups_of_rows_are_read_together() -> None:
    data = written(numbers(20_000), row_group_size=100)
    assert list(stretches(io.BytesIO(data), ["vibration"], 9950)) == [(0, 9900), (9900, 9900), (19_800, 200)]


def test_what_is_not_read_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"vibration": [1.0] * 100, "photo": [b"x" * 100 * KIB] * 100, "spectrum": [[1.0] * 9] * 100})
    monkeypatch.setattr(parquetpages, "PAGE", 50 * KIB)
    data = written(table, use_dictionary=False, data_page_size=2**20)
    with read_bytes(data, "parquet", PUMP) as reader:
        assert sum(batch.rows for batch in reader) == 100


def test_a_page_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquetpages, "PAGE", 2**20)
    table = pa.table({"vibration": ["0" * 10 * KIB] * 200})
    data = written(table, compression="ZSTD", use_dictionary=False, data_page_size=2**30, write_batch_size=200)
    assert len(data) < 5 * KIB
    refused = refusal(data, PUMP, "parquet")
    assert refused.reason == "too_large"
    assert "page" in refused.message


def test_a_row_whose_pages_unpack_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquetpages, "STRETCH", 10 * KIB)
    monkeypatch.setattr(parquetpages, "MOST", 50 * KIB)
    table = pa.table({"vibration": [1.0] * 2000} | {f"x{n}": np.arange(2000) / 7 for n in range(9)})
    assert refusal(written(table, use_dictionary=False), PUMP, "parquet").reason == "too_large"
    assert len(list(stretches(io.BytesIO(written(table)), ["vibration"], 5000))) == 1


def test_texts_whose_length_nothing_tells_are_refused() -> None:
    table = pa.table({"Pumpe": ["x" * 100 * KIB] * 1000})
    data = written(table, use_dictionary=False, column_encoding={"Pumpe": "DELTA_BYTE_ARRAY"})
    assert refusal(data, PUMP, "parquet").reason == "format"


@pytest.mark.parametrize("kind", [pl.String(), pl.Categorical()])
def test_a_text_that_stands_for_many_is_told_by_its_length(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    profile = text_profile("a")
    target = io.BytesIO()
    texts = pl.Series("a", ["x" * 1000, "y" * 500], dtype=kind)
    texts.gather([0, 1] * 5000).to_frame().with_columns(reading=1).write_parquet(target)
    assert len(target.getvalue()) < 50_000
    assert refusal(target.getvalue(), profile, "parquet", line_limit=999).reason == "line_too_long"
    monkeypatch.setattr(parquetrows, "TEXT", 64 * KIB)
    with read_bytes(target.getvalue(), "parquet", profile, line_limit=1000) as reader:
        sizes = [batch.frame["a"].str.len_bytes().sum() for batch in reader]
    assert max(sizes) <= 64 * KIB
    assert sum(sizes) == 1500 * 5000
    monkeypatch.setattr("appliance.reader.SIZE_LIMIT", 2**20)
    assert refusal(target.getvalue(), profile, "parquet").reason == "too_large"


def test_more_pages_than_anyone_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquetpages, "PAGES", 3)
    data = written(numbers(20_000), data_page_size=KIB)
    assert refusal(data, PUMP, "parquet").reason == "format"


@given(data=st.binary(max_size=80))
def test_no_bytes_make_the_reader_of_structs_fail_in_another_way(data: bytes) -> None:
    try:
        found, end = read_struct(data)
    except Damaged:
        return
    assert isinstance(found, dict)
    assert 0 < end <= len(data)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_byte_that_is_wrong_ends_in_stretches_or_a_refusal(place: int, value: int) -> None:
    data = bytearray(DAMAGED)
    data[place % len(data)] = value
    with suppress(FileRefused):
        found = list(stretches(io.BytesIO(bytes(data)), ["vibration", "Pumpe"], 300))
        assert sum(count for _, count in found) == 1000


DAMAGED = written(numbers(1000), data_page_size=KIB)
