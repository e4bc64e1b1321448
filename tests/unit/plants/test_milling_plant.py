"""The simulated mills against the documented rules, and against the published file where it can be had."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import features
from model.plants import Milling, csv_bytes, generate
from tests import counts
from tests.datasets import dataset

LABELS = ["machine_failure", "twf", "hdf", "pwf", "osf", "rnf"]
LINE = re.compile(
    r"[1-9][0-9]*,(?P<letter>[LMH])[0-9]{5},(?P=letter)"
    r",[0-9]{3}\.[0-9],[0-9]{3}(\.[1-9])?,[0-9]{4},[0-9]{1,2}\.[0-9],[0-9]{1,3}(,[01]){6}"
)


def read(source: bytes) -> pl.DataFrame:
    """Written values as float64, as a reader of the file gets them."""
    profile = Milling().profile
    types = {c.header: pl.Int64() if c.type == "boolean" else features.dtype(c) for c in profile.columns}
    return pl.read_csv(io.BytesIO(source), schema_overrides=types).rename({c.header: c.name for c in profile.columns})


def by_the_rules(rows: pl.DataFrame) -> pl.DataFrame:
    """The three modes that documented rules decide."""
    watts = pl.col("torque") * pl.col("speed") * 2 * np.pi / 60
    most = pl.col("type").replace_strict({"L": 11_000, "M": 12_000, "H": 13_000})
    return rows.select(
        hdf=(pl.col("process_temperature") - pl.col("air_temperature") < 8.6) & (pl.col("speed") < 1380),
        pwf=(watts < 3500) | (watts > 9000),
        osf=pl.col("tool_wear") * pl.col("torque") > most,
    ).cast(pl.Int64)


@pytest.fixture(scope="module")
def file() -> bytes:
    return csv_bytes("milling", 100_000, seed=7)


@pytest.fixture(scope="module")
def rows(file: bytes) -> pl.DataFrame:
    return read(file)


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    return read(dataset("ai4i2020.csv").read_bytes())


def test_rules_hold_on_the_written_values(rows: pl.DataFrame) -> None:
    assert by_the_rules(rows).equals(rows.select("hdf", "pwf", "osf"))
    assert rows.select("hdf", "pwf", "osf").sum().row(0) > (100, 100, 100)


def test_the_published_file_obeys_the_same_rules(published: pl.DataFrame) -> None:
    assert by_the_rules(published).equals(published.select("hdf", "pwf", "osf"))


def test_the_machine_fails_by_every_mode_but_chance(rows: pl.DataFrame) -> None:
    expected = rows.select(pl.max_horizontal("twf", "hdf", "pwf", "osf"))
    assert rows["machine_failure"].to_list() == expected.to_series().to_list()
    assert rows.filter((pl.col("rnf") == 1) & (pl.col("machine_failure") == 0)).height > 0


def test_tools_wear_by_quality_and_end_between_200_and_240_minutes(rows: pl.DataFrame) -> None:
    step = rows.select(
        "type", "tool_wear", "twf", grows=pl.col("tool_wear").diff().shift(-1), last=pl.col("udi") % 10_000 == 0
    ).head(-1)
    worn = step.filter(pl.col("grows") >= 0)
    minutes = worn["type"].replace_strict({"L": 2, "M": 3, "H": 5}).to_list()
    assert worn["grows"].to_list() == minutes
    # A campaign ends with its last part, whatever the tool is worth.
    ends = step.filter((pl.col("grows") < 0) & ~pl.col("last"))
    assert ends["tool_wear"].min() >= 200
    assert ends["tool_wear"].max() <= 245
    assert (ends["tool_wear"] + ends["grows"]).unique().to_list() == [0]
    failed = step.filter(pl.col("twf") == 1)
    assert failed.height == ends["twf"].sum()
    assert 0.3 < failed.height / ends.height < 0.5


def test_documented_figures(rows: pl.DataFrame) -> None:
    # The walks are normalised over each campaign; rounding to 0.1 K adds next to nothing.
    for campaign in rows.iter_slices(10_000):
        assert campaign["air_temperature"].mean() == pytest.approx(300, abs=0.01)
        assert campaign["air_temperature"].std() == pytest.approx(2, abs=0.01)
        difference = campaign["process_temperature"] - campaign["air_temperature"]
        assert difference.mean() == pytest.approx(10, abs=0.01)
        assert difference.std() == pytest.approx(1, abs=0.01)
    assert rows["torque"].mean() == pytest.approx(40, abs=0.15)
    assert rows["torque"].std() == pytest.approx(10, abs=0.1)
    assert rows["torque"].min() >= 0
    shares = dict(rows["type"].value_counts(normalize=True).iter_rows())
    assert shares == pytest.approx({"L": 0.6, "M": 0.3, "H": 0.1}, abs=0.01)
    assert rows["rnf"].mean() == pytest.approx(0.001, abs=0.0004)


def test_failures_are_as_rare_as_in_the_published_file(rows: pl.DataFrame) -> None:
    # Published: 339 failures and 46, 115, 95, 98 of the modes in 10,000 rows. HDF follows a walk and varies most.
    share = {name: rows[name].mean() for name in LABELS}
    assert 0.028 < share["machine_failure"] < 0.042
    assert 0.0035 < share["twf"] < 0.0065
    assert 0.006 < share["hdf"] < 0.018
    assert 0.008 < share["pwf"] < 0.013
    assert 0.007 < share["osf"] < 0.013


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "quantile"),
    [("speed", 5, 6, 25), ("torque", 0.4, 0.25, 0.8), ("tool_wear", 2, 1.5, 4)],
)
def test_distributions_match_the_published_file(
    rows: pl.DataFrame, published: pl.DataFrame, name: str, mean: float, deviation: float, quantile: float
) -> None:
    assert rows[name].mean() == pytest.approx(published[name].mean(), abs=mean)
    assert rows[name].std() == pytest.approx(published[name].std(), abs=deviation)
    for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        assert rows[name].quantile(share) == pytest.approx(published[name].quantile(share), abs=quantile), share


def test_speed_belongs_to_torque_as_in_the_published_file(rows: pl.DataFrame, published: pl.DataFrame) -> None:
    def related(frame: pl.DataFrame) -> tuple[float, pl.DataFrame]:
        bins = frame.group_by((pl.col("torque") // 5 * 5).alias("bin")).agg(
            pl.len(), pl.col("speed").mean(), (pl.col("speed") - 20_000 / pl.col("torque")).std().alias("noise")
        )
        return float(np.corrcoef(frame["speed"], frame["torque"])[0, 1]), bins.sort("bin")

    ours, our_bins = related(rows)
    theirs, their_bins = related(published)
    assert ours == pytest.approx(theirs, abs=0.015)
    both = our_bins.join(their_bins.filter(pl.col("len") > 100), on="bin")
    assert both.height >= 9
    for _, _, speed, noise, _, their_speed, their_noise in both.iter_rows():
        assert speed == pytest.approx(their_speed, abs=25)
        assert noise == pytest.approx(their_noise, abs=8)


def test_lines_look_like_the_published_ones(file: bytes) -> None:
    header, *lines = file.decode().splitlines()
    theirs, *their_lines = dataset("ai4i2020.csv").read_text().splitlines()
    assert header == theirs
    assert all(LINE.fullmatch(line) for line in their_lines)
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_records_and_products_count_on(rows: pl.DataFrame) -> None:
    assert rows["udi"].to_list() == list(range(1, 100_001))
    number = rows["product_id"].str.slice(1).cast(pl.Int64)
    first = rows["type"].replace_strict({"L": 47_180, "M": 14_860, "H": 29_414}) + rows["udi"] - 1
    assert number.head(40_000).to_list() == first.head(40_000).to_list()
    assert number.is_between(10_000, 99_999).all()


def test_all_values_are_in_the_profile_s_ranges(rows: pl.DataFrame) -> None:
    for column in Milling().profile.columns:
        if column.minimum is not None:
            assert rows[column.name].min() >= column.minimum
        if column.maximum is not None:
            assert rows[column.name].max() <= column.maximum
        if column.pattern is not None:
            assert rows[column.name].str.contains(column.pattern).all()


@settings(max_examples=counts.examples(30))
@given(cuts=st.lists(st.integers(9_991, 10_019), max_size=5), seed=st.integers(0, 2**40))
def test_the_same_seed_gives_the_same_bytes_however_they_are_cut(cuts: list[int], seed: int) -> None:
    plant = Milling()
    edges = sorted({9_990, 10_020, *cuts})
    pieces = [plant.lines(plant.rows(seed, 1, start, end - start)) for start, end in pairwise(edges)]
    whole = Milling()
    assert b"".join(pieces) == whole.lines(whole.rows(seed, 1, 9_990, 30))


def test_a_frame_has_the_profile_s_types_and_its_file_the_same_values(rows: pl.DataFrame) -> None:
    frame = generate("milling", 12_345, seed=7)
    assert frame.schema == {c.name: features.dtype(c) for c in Milling().profile.columns}
    assert frame.with_columns(pl.col(LABELS).cast(pl.Int64)).equals(rows.head(12_345))


def test_machines_and_seeds_differ() -> None:
    some = {csv_bytes("milling", 20, seed=seed, machine=machine) for seed in (0, 1) for machine in (1, 2)}
    assert len(some) == 4
