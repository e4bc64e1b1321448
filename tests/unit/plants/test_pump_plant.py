"""The simulated pumps: files as their profile describes them, and failures that announce themselves."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from appliance import features
from model.plants import Pump, csv_bytes, generate, write_csv

DAY = 23 * 6


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    pump = Pump()
    return pl.concat(pump.rows(3, machine, 0, 3 * pump.campaign_rows) for machine in range(1, 21))


def test_a_file_is_as_the_profile_says() -> None:
    profile = Pump().profile
    header, *lines = csv.reader(io.StringIO(csv_bytes("pump", 2_000, machine=7).decode("windows-1252")), delimiter=";")
    assert header == [c.header for c in profile.columns]
    assert len(lines) == 2_000
    assert {line[0] for line in lines} == {"P-07"}
    assert all(datetime.strptime(line[1], profile.time.format or "") for line in lines)
    for place, column in enumerate(profile.columns):
        cells = [line[place] for line in lines]
        if column.type == "number":
            values = [float(cell.replace(",", ".")) for cell in cells if cell]
            assert not any("." in cell for cell in cells)
            assert {len(cell.partition(",")[2]) for cell in cells if cell} == {column.decimals}
            assert (len(values) < len(cells)) == column.nullable
            assert column.minimum is not None
            assert column.maximum is not None
            assert column.minimum <= min(values) <= max(values) <= column.maximum
        if column.type == "category":
            assert set(cells) <= set(column.categories)
        if column.type == "boolean":
            assert set(cells) <= {"0", "1"}


def test_a_frame_has_the_profile_s_types() -> None:
    assert generate("pump", 10).schema == {c.name: features.dtype(c) for c in Pump().profile.columns}


def test_every_time_exists_once_in_the_plant_s_zone() -> None:
    pump = Pump(begin=date(2025, 1, 1))
    times = pump.rows(0, 1, 0, 400 * DAY)["measured_at"]
    local = times.dt.convert_time_zone("Europe/Berlin").dt.replace_time_zone(None)
    # Raises where a local time is skipped or comes twice, which the nights of both changes would.
    assert local.dt.replace_time_zone("Europe/Berlin").dt.convert_time_zone("UTC").equals(times)
    assert local[0] == datetime(2025, 1, 1)
    steps = local.diff().drop_nulls()
    assert set(steps.unique()) == {timedelta(minutes=10), timedelta(minutes=70)}
    assert (local.dt.hour() == 2).sum() == 0


def test_the_first_day_can_be_chosen() -> None:
    first = Pump(begin=date(2026, 7, 1)).rows(0, 1, 0, 1)["measured_at"][0]
    assert first == datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))


def test_the_label_marks_the_day_before_a_failure(rows: pl.DataFrame) -> None:
    runs = rows.select(run=pl.struct("pump", "failed").rle()).unnest("run").unnest("value").filter("failed")
    assert runs.height > 30
    assert set(runs["len"].unique()) == {DAY}
    assert 0.045 < rows["failed"].mean() < 0.075
    assert rows["failed"].equals(rows["bearing_failure"].alias("failed"))


def test_failures_announce_themselves_and_end_with_the_repair(rows: pl.DataFrame) -> None:
    late = rows.with_columns(
        eve=pl.col("failed") & ~pl.col("failed").shift(-6, fill_value=False).over("pump"),
        after=pl.col("failed").shift(1, fill_value=False).over("pump") & ~pl.col("failed"),
    )
    sound = rows.filter(~pl.col("failed"))
    eve, after = late.filter("eve"), late.filter("after")
    assert eve["vibration"].mean() > 3 * sound["vibration"].mean()
    assert eve["pressure"].mean() < sound["pressure"].mean() - 1
    assert eve["temperature"].mean() > sound["temperature"].mean() + 5
    assert after["vibration"].mean() < 1.2 * sound["vibration"].mean()


def test_vibration_alone_ranks_failures_well_but_not_perfectly(rows: pl.DataFrame) -> None:
    rank = rows["vibration"].rank().to_numpy()
    failing = rows["failed"].to_numpy()
    positives = failing.sum()
    area = (rank[failing].sum() - positives * (positives + 1) / 2) / (positives * (~failing).sum())
    assert 0.9 < area < 0.999


def test_the_engineering_limit_is_reached_only_by_failing_pumps(rows: pl.DataFrame) -> None:
    broken = rows.filter(pl.col("vibration") > 11.2)
    assert broken.height > 0
    assert broken["failed"].all()


def test_a_training_file_holds_all_pumps_by_time_and_shorter_ones_are_its_beginning(tmp_path: Path) -> None:
    write_csv(tmp_path / "long.csv", "pump", 100_010, machines=3)
    write_csv(tmp_path / "short.csv", "pump", 1_001, machines=3)
    long = (tmp_path / "long.csv").read_bytes()
    assert long.startswith((tmp_path / "short.csv").read_bytes())
    lines = long.decode("windows-1252").splitlines()[1:]
    assert len(lines) == 100_010
    assert [line[:4] for line in lines[:6]] == ["P-01", "P-02", "P-03"] * 2
    alone = csv_bytes("pump", 33_336, machine=2).decode("windows-1252").splitlines()[1:]
    assert lines[1::3] == alone + csv_bytes("pump", 1, machine=2, start=33_336).decode("windows-1252").splitlines()[1:]


def test_pumps_differ() -> None:
    readings = np.array([generate("pump", 200, machine=machine)["vibration"].mean() for machine in range(1, 9)])
    assert np.ptp(readings) > 0.3
