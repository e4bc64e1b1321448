"""Parquet gives the cells that a CSV of the same rows gives, in slices."""

from __future__ import annotations

import io
import random
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from appliance.batches import Batch
from appliance.errors import FileRefused
from appliance.reader import read_bytes
from tests import profiles
from tests.unit.reader.rows import refusal, text_profile

PUMP = profiles.load("pump")


def parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target, **options)
    return target.getvalue()


def batches(data: bytes, profile: Any, **options: Any) -> list[Batch]:
    with read_bytes(data, "parquet", profile, **options) as reader:
        return list(reader)


def test_slices_hold_all_rows_in_order() -> None:
    frame = pl.DataFrame({"a": [f"x{n}" for n in range(1000)], "reading": np.arange(1000) / 8})
    found = batches(parquet(frame, row_group_size=300), text_profile("a"), batch_rows=64)
    assert max(batch.rows for batch in found) == 64
    whole = pl.concat([batch.frame for batch in found])
    assert whole["_row"].to_list() == list(range(1, 1001))
    assert whole["a"].to_list() == frame["a"].to_list()
    assert whole["reading"].cast(pl.Float64).to_list() == frame["reading"].to_list()


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (pl.Series([1.5, None, 1e300]), ["1,5", None, "1e+300"]),
        (pl.Series([0.1], dtype=pl.Float32), ["0,1"]),
        (pl.Series([2**62, -1]), [str(2**62), "-1"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series([Decimal("1.25")]), ["1,25"]),
        (pl.Series(["1,5", "", " "]), ["1,5", None, " "]),
        (pl.Series(["x"], dtype=pl.Categorical), ["x"]),
        (pl.Series([float("nan"), float("inf")]), ["NaN", "inf"]),
        (pl.Series([None], dtype=pl.Null), [None]),
    ],
)
def test_values_are_written_as_the_profile_writes_them(values: pl.Series, written: list[str | None]) -> None:
    (batch,) = batches(parquet(pl.DataFrame({"vibration": values})), PUMP)
    assert batch.frame["vibration"].to_list() == written


def test_a_time_stays_a_moment() -> None:
    moment = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    for series in (pl.Series([moment]), pl.Series([moment.replace(tzinfo=None)]), pl.Series([moment.date()])):
        (batch,) = batches(parquet(pl.DataFrame({"Zeitpunkt": series})), PUMP)
        assert isinstance(batch.frame.schema["Zeitpunkt"], pl.Datetime)


def test_lists_are_refused_under_a_known_name_and_ignored_under_another() -> None:
    frame = pl.DataFrame({"vibration": [1.0], "spectrum": [[1.0, 2.0]], "_row": [7]})
    (batch,) = batches(parquet(frame), PUMP)
    assert batch.header == ["vibration"]
    assert batch.frame["_row"].to_list() == [1]
    assert refusal(parquet(pl.DataFrame({"vibration": [[1.0]]})), PUMP, "parquet").reason == "format"
    assert refusal(parquet(pl.DataFrame({"vibration": [b"1"]})), PUMP, "parquet").reason == "format"


def test_what_is_refused_in_a_csv_is_refused_here() -> None:
    assert refusal(parquet(pl.DataFrame({"x": [1]})), PUMP, "parquet").reason == "header"
    assert refusal(parquet(pl.DataFrame({"Temperatur": [1], "temperature": [1]})), PUMP, "parquet").reason == (
        "duplicate_column"
    )
    assert refusal(
        parquet(pl.DataFrame({"vibration": []}, schema={"vibration": pl.Float64})), PUMP, "parquet"
    ).reason == ("no_rows")
    assert refusal(parquet(pl.DataFrame({"vibration": [1.0] * 9})), PUMP, "parquet", row_limit=8).reason == "too_large"


def test_a_few_bytes_that_claim_millions_of_rows_cost_one_slice() -> None:
    target = io.BytesIO()
    pl.select(pl.repeat(1.0, 20_000_000).alias("vibration")).lazy().sink_parquet(target, row_group_size=20_000_000)
    assert len(target.getvalue()) < 200_000
    with read_bytes(target.getvalue(), "parquet", PUMP, batch_rows=1000) as reader:
        assert next(iter(reader)).rows == 1000


def test_damaged_files_are_refused_never_a_crash() -> None:
    good = parquet(pl.DataFrame({"vibration": np.arange(200) / 7, "Pumpe": ["P-01"] * 200}))
    chance = random.Random(7)
    for _ in range(200):
        data = bytearray(good)
        for _ in range(chance.choice([1, 3, 9])):
            data[chance.randrange(4, len(data) - 4)] = chance.randrange(256)
        with suppress(FileRefused):
            assert sum(batch.rows for batch in batches(bytes(data), PUMP)) > 0
    assert refusal(b"", PUMP, "parquet").reason == "empty"
    for part in (b"PAR1", good[:-1], good[:50], b"PAR1" + b"\xff" * 100 + b"PAR1"):
        assert refusal(part, PUMP, "parquet").reason == "format"
