"""Every row that came is good or bad, and every good one is predicted once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from appliance import bundle, features, outputs, pipeline, signing
from appliance.errors import Conflict
from appliance.scorer import Scorer
from model import faults, simulate
from model.plants import PLANTS, csv_bytes
from tests.profiles import load
from tests.road.conftest import Road

pytestmark = pytest.mark.usefixtures("api")


@pytest.mark.parametrize("plant", ["milling", "pump"])
def test_a_plant_with_every_fault_is_accounted_for_row_by_row(road: Road, plant: str, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    play = f"--plant {plant} --into {road.settings.raw} --machines 2 --files 16 --rows-per-file 40 --every 0 --seed 5"
    assert simulate.main([*play.split(), "--faults", "0.8", "--manifest", str(manifest)]) == 0
    told = road.manifest(manifest)
    assert len({name for line in told for name in line["faults"]}) > 15, "too few faults to prove anything"

    road.ingest()
    road.predict()

    assert road.waiting() == [f".simulate-{plant}.json"]
    assert road.broken_promises() == []
    refused = [line for line in told if line["expected"] == "file"]
    accepted = {line["sha256"]: line for line in told if line["expected"] != "file"}
    files = road.rows("SELECT * FROM file")
    by_state = Counter(file["state"] for file in files)
    assert by_state["quarantined"] == len(refused)
    for file in files:
        if file["state"] == "quarantined":
            assert (road.settings.data_dir / file["quarantine_path"]).exists()
            continue
        line = accepted[file["sha256"]]
        assert (file["rows_in"], file["rows_bad"]) == (line["rows"], len(line["spoiled"])), line["faults"]
    good = sum(file["rows_good"] for file in files)
    [predicted] = road.rows("SELECT count(*) AS rows, count(DISTINCT (file_id, row)) AS once FROM prediction")
    assert predicted == {"rows": good, "once": good}


def test_all_documented_faults_were_played() -> None:
    """The test above shares 32 files among them; this says which there are to share."""
    wanted = {
        "null", "wrong-type", "out-of-range", "unknown-category", "bad-identifier", "missing-column", "extra-column",
        "duplicated-column", "reordered-columns", "duplicate-rows", "duplicate-file", "truncated-file",
        "wrong-encoding", "nul-bytes", "empty-file", "nan-inf", "formula-cells",
    }  # fmt: skip
    assert wanted <= set(faults.FAULTS)


def test_what_is_stored_is_what_the_model_says_of_the_rows(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    road.predict()
    [file] = road.rows("SELECT * FROM file")
    rows = outputs.read_part(road.settings.data_dir / file["good_path"], 0, 160)
    served = bundle.active(road.settings.models, "milling", signing.trusted_keys(road.settings.keys))
    matrix = features.matrix(served.profile, rows)
    scores = Scorer(served.model_bytes, served.profile).score(matrix)
    stored = road.rows("SELECT * FROM prediction ORDER BY id")
    assert [row["row"] for row in stored] == list(range(1, 161))
    np.testing.assert_array_equal(np.array([row["features"] for row in stored], dtype=np.float32), matrix)
    np.testing.assert_allclose([row["probability"] for row in stored], scores.probability, atol=1e-6)
    assert [row["failing"] for row in stored] == scores.failing.tolist()
    assert {row["source"] for row in stored} == {2}
    # 160 rows are three parts of at most 70.
    assert [part["rows"] for part in road.rows("SELECT rows FROM part ORDER BY number")] == [70, 70, 20]


def test_two_profiles_side_by_side(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.drop("pump", "b.csv", csv_bytes(PLANTS["pump"](), 60, seed=3))
    assert road.ingest().rows_good == 220
    assert road.predict().rows == 220
    profiles = road.rows(
        "SELECT profile.name, count(*) AS rows, min(cardinality(features)) AS features FROM prediction"
        " JOIN profile ON profile.id = profile_id GROUP BY 1 ORDER BY 1"
    )
    assert profiles == [
        {"name": "milling", "rows": 160, "features": len(load("milling").matrix_names)},
        {"name": "pump", "rows": 60, "features": len(load("pump").matrix_names)},
    ]


def test_doing_it_again_changes_nothing(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    road.predict()
    before = road.rows("SELECT * FROM prediction ORDER BY id")
    assert road.ingest().arrivals == 0
    assert road.predict().parts == 0
    assert road.rows("SELECT * FROM prediction ORDER BY id") == before
    skipped = road.rows("SELECT kind, outcome FROM run WHERE outcome = 'skipped' ORDER BY kind")
    assert skipped == [{"kind": "ingest", "outcome": "skipped"}, {"kind": "predict", "outcome": "skipped"}]


def test_known_content_is_a_duplicate_only_for_the_same_machine(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    road.drop("milling", "again.csv", mill, "mill-1")
    road.drop("milling", "a.csv", mill, "mill-2")
    done = road.ingest()
    assert (done.files, done.duplicates) == (1, 1)
    assert road.predict().rows == 320
    assert road.waiting() == []


def test_an_empty_plant_is_fine(road: Road) -> None:
    assert road.ingest().sentence() == "No new files."
    assert road.predict().sentence() == "No new good data."


def test_the_second_of_two_passes_leaves(road: Road, mill: bytes) -> None:
    from appliance import intake

    road.drop("milling", "a.csv", mill, "mill-1")
    with intake.exclusive(road.settings.work), pytest.raises(Conflict):
        road.ingest()
    assert road.ingest().files == 1


def test_a_pass_stops_taking_files_when_its_time_is_over(road: Road, mill: bytes) -> None:
    for number in range(3):
        road.drop("milling", f"{number}.csv", mill + b"\n" * number, "mill-1")
    assert pipeline.ingest(road.box, seconds=0).left == 3
    assert road.ingest().files == 3


def test_an_archive_keeps_the_bytes_that_came(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    [kept] = [path for path in road.settings.archive.rglob("*") if path.is_file()]
    assert kept.read_bytes() == mill


def test_bad_rows_come_back_mended_with_their_lineage(road: Road, mill: bytes) -> None:
    lines = mill.decode().splitlines(keepends=True)
    spoiled = lines[5].split(",")
    torque, spoiled[6] = spoiled[6], "512.0"
    lines[5] = ",".join(spoiled)
    road.drop("milling", "a.csv", "".join(lines).encode(), "mill-1")
    assert (road.ingest().rows_bad, road.predict().rows) == (1, 159)
    [file] = road.rows("SELECT * FROM file")
    bad = (road.settings.data_dir / file["bad_path"]).read_bytes()
    assert b"outside of 0 to 100 N.m" in bad
    report = (road.settings.data_dir / file["report_path"]).read_text()
    assert "Torque" in report

    road.drop("milling", "mended.csv", bad.replace(b"512.0", torque.encode()), "mill-1")
    assert road.ingest().rows_good == 1
    road.predict()
    [mended] = road.rows("SELECT * FROM file WHERE id <> :id", id=file["id"])
    assert mended["mended_from"] == file["id"]
    assert road.rows("SELECT count(*) AS rows FROM prediction") == [{"rows": 160}]


def test_a_mended_profile_makes_the_same_bytes_a_new_file(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    road.rows("UPDATE file SET contract_hash = repeat('0', 64) RETURNING id")
    road.drop("milling", "a.csv", mill, "mill-1")
    assert road.ingest().files == 1


def test_good_files_say_under_which_contract_they_are_good(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    [path] = road.settings.good.rglob("*.parquet")
    assert outputs.good_metadata(path)["contract_hash"] == load("milling").contract_hash()
    assert pl.read_parquet(path).height == 160
