"""What a bundle holds: the same bytes for the same content, and figures that are true of the model beside them."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from appliance.bundle_check import PLOTS, VERSION
from appliance.profile import Profile
from model import card, evaluate, export, package
from model.card import Origin
from tests import small_models
from tests.profiles import load, text

NAMES = ["milling", "pump"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_content_gives_the_same_bytes(name: str) -> None:
    first = small_models.files(name)
    again = small_models.files.__wrapped__(name)
    assert {n: hashlib.sha256(data).hexdigest() for n, data in again.items()} == {
        n: hashlib.sha256(data).hexdigest() for n, data in first.items()
    }


def test_versions_sort_by_day_and_show_the_content() -> None:
    days = [
        datetime(2026, 2, 28, 23, 59, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ]
    contents = [hashlib.sha256(bytes([n])).hexdigest() for n in range(20)]
    made = [package.version(day, content) for day in days for content in contents]
    assert all(VERSION.fullmatch(version) for version in made)
    assert [v[:8] for v in sorted(made)] == [v[:8] for v in made]
    assert {version.split("-")[1] for version in made} == {content[:12] for content in contents}


def test_content_is_all_that_decides_a_model_and_no_more() -> None:
    data, _, model_bytes = small_models.small_forest("milling")
    wanted = package.content(data, model_bytes, 5, 0)
    assert wanted == package.content(data, model_bytes, 5, 0)
    other = small_models.training_data(load("pump"))
    for changed in (
        package.content(data, model_bytes + b"\0", 5, 0),
        package.content(data, model_bytes, 4, 0),
        package.content(data, model_bytes, 5, 1),
        package.content(other, model_bytes, 5, 0),
    ):
        assert changed != wanted


@pytest.mark.parametrize("name", NAMES)
def test_golden_rows_cover_both_verdicts_the_threshold_and_every_probe(name: str) -> None:
    data, _, _ = small_models.small_forest(name)
    golden = json.loads(small_models.files(name)["golden.json"])
    expected = np.asarray(golden["expected"])
    assert len(expected) >= 50
    assert {True, False} == set(golden["failing"])
    distance = np.abs(expected[:, 0] - data.profile.threshold)
    assert (distance < 0.15).sum() >= 20
    cells = [cell for row in golden["matrix"] for cell in row]
    assert (None in cells) == (name == "pump")
    assert all(cell is None or struct.unpack("f", struct.pack("f", cell))[0] == cell for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_sample_is_rows_of_the_training_matrix(name: str) -> None:
    data, _, _ = small_models.small_forest(name)
    reference = pl.read_parquet(io.BytesIO(small_models.files(name)["reference.parquet"]))
    assert reference.columns == [*data.profile.matrix_names, "_probability", "_label"]
    assert set(reference.dtypes[:-1]) == {pl.Float32()}
    sampled = {row.tobytes() for row in reference.select(data.profile.matrix_names).to_numpy()}
    assert sampled <= {row.tobytes() for row in data.matrix}
    assert reference["_label"].sum() == data.failures  # 800 rows are all taken


@pytest.mark.parametrize("name", NAMES)
def test_plots_are_pictures_of_some_size(name: str) -> None:
    from matplotlib.image import imread

    for plot in PLOTS:
        data = small_models.files(name)[plot]
        assert data.startswith(b"\x89PNG\r\n")
        assert b"Software" not in data
        picture = imread(io.BytesIO(data))
        assert picture.shape[0] > 300
        assert (picture[:, :, :3].min(axis=2) < 0.5).mean() > 0.01, "something is drawn"


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_what_is_true(name: str) -> None:
    data, _, _ = small_models.small_forest(name)
    told = json.loads(small_models.files(name)["card.json"])
    assert told["threshold"] == data.profile.threshold
    assert told["data"]["failures"] == data.failures
    assert told["training"]["trees"] == small_models.TREES
    assert told["parity"]["rows"] > 2 * len(data.matrix)
    for number, feature in enumerate(told["features"]):
        column = data.matrix[:, number]
        assert feature["name"] == data.profile.matrix_names[number]
        assert feature["minimum"] == np.nanmin(column)
        assert feature["maximum"] == np.nanmax(column)
        assert feature["missing"] == pytest.approx(np.isnan(column).mean())
        assert list(feature["quantiles"].values()) == sorted(feature["quantiles"].values())
    for number, mode in enumerate(told["modes"], start=1):
        assert mode["examples"] == data.targets[:, number].sum()
        assert mode["named"] <= mode["found"] <= mode["examples"]
    assert sum(step["rows"] for step in told["calibration"]) == len(data.matrix)


def _verdict_of(profile: Profile, trees: int = 20) -> tuple[dict[str, Any], str]:
    data = small_models.training_data(profile)
    evaluation = evaluate.cross_validate(data, 2, 0, trees)
    origin = Origin("v1", "c" * 64, small_models.CREATED, 0, 2, trees, 1.0)
    told = card.build(data, evaluation, export.Parity(1, 0.0, 0), origin)
    return told, card.verdict(told, profile)


def test_the_card_says_whether_the_model_beats_the_limits() -> None:
    told, words = _verdict_of(load("pump"))
    assert told["at_threshold"]["cost_per_1000_rows"] < told["limits_alone"]["cost_per_1000_rows"]
    assert "the model saves" in words
    # A single tree is a poor forest.
    told, words = _verdict_of(small_models.with_threshold(load("milling"), 0.5), trees=1)
    assert told["at_threshold"]["cost_per_1000_rows"] >= told["limits_alone"]["cost_per_1000_rows"]
    assert "does not beat the limits alone" in words


def test_a_model_that_never_warns_says_so() -> None:
    told, words = _verdict_of(small_models.with_threshold(load("milling"), 1 - 1e-9), trees=20)
    assert told["at_threshold"]["precision"] is None
    assert "gave no warning at all" in words


@pytest.mark.parametrize("name", NAMES)
def test_the_page_for_people_names_everything_that_counts(name: str) -> None:
    contents = small_models.files(name)
    page, told = contents["card.md"].decode(), json.loads(contents["card.json"])
    profile = load(name)
    for words in (told["version"], profile.words.failing, "limits alone", told["data"]["sha256"], *PLOTS):
        assert words in page
    for feature in told["features"]:
        assert feature["title"] in page
    for mode in profile.modes:
        assert mode.title in page
    assert "None" not in page
    assert "nan" not in page


def test_the_profile_in_the_bundle_is_the_very_text() -> None:
    assert small_models.files("pump")["profile.toml"].decode() == text("pump")
