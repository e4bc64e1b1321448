"""The command: one JSON object or two sentences, exit codes, and nothing published where anything is in doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import polars as pl
import pytest

from appliance import bundle, signing
from appliance.profile import Profile
from model import data as training_data
from model import export, train
from model.forest import Forest
from tests import small_models
from tests.profiles import load, text

Run = Callable[..., tuple[int, str, str]]


def as_csv(profile: Profile, frame: pl.DataFrame) -> str:
    """The rows as the profile's machines would write them."""
    form = profile.file
    columns = []
    for column in profile.columns:
        if column.name not in frame.columns:
            continue
        cells = pl.col(column.name)
        if column.type == "boolean":
            cells = cells.cast(pl.Int8)
        if column.type == "time":
            cells = cells.dt.convert_time_zone(profile.time.zone).dt.strftime(profile.time.format or "")
        if column.type == "number":
            cells = cells.cast(pl.String).str.replace(".", form.decimal, literal=True)
        columns.append(cells.alias(column.header))
    return frame.select(columns).write_csv(separator=form.separator)


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "milling", change: Callable[[pl.DataFrame], pl.DataFrame] = lambda f: f) -> Path:
        profile = load(name)
        path = tmp_path / f"{name}.csv"
        path.write_bytes(as_csv(profile, change(small_models.rows(profile))).encode(profile.file.encoding))
        return path

    return write


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a box of its own: (exit code, standard output, standard error)."""
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "box"))
    monkeypatch.delenv("APPLIANCE_CONFIG", raising=False)

    def go(*arguments: object) -> tuple[int, str, str]:
        words = [str(argument) for argument in arguments]
        try:
            code = train.main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return go


QUICK = ("--folds", 2, "--trees", 6)


def test_training_publishes_a_bundle_that_verifies_and_tells_its_figures(
    run: Run, csv: Callable[..., Path], tmp_path: Path
) -> None:
    code, out, err = run("--profile", "milling", "--data", csv(), "--json", *QUICK)
    assert code == 0, err
    told = json.loads(out)
    for figure in ("roc_auc", "average_precision", "brier", "f1_at_50", "recall_at_p90"):
        assert set(told["cv"][figure]) == {"mean", "std"}
    assert {"precision", "recall", "f1"} <= set(told["limits_alone"])
    assert set(told["parity"]) == {"rows", "max_abs_diff", "verdict_differences"}
    assert told["published"] is told["new"] is True
    assert told["active"] is False
    assert (told["rows"], told["rows_left_out"], told["threshold"]) == (800, 0, load("milling").threshold)
    keys = signing.trusted_keys(tmp_path / "box" / "keys")
    found = bundle.verify(Path(told["folder"]), keys)
    assert found.version == told["version"] == Path(told["folder"]).name
    assert found.card["cv"] == told["cv"]
    assert found.profile_text == text("milling")
    assert str(tmp_path / "box" / "keys" / "signing.key") in err
    assert "fold 2 of 2" in err


def test_the_same_again_is_there_already_on_any_day(
    run: Run, csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772323200")
    first = json.loads(run("--profile", "milling", "--data", csv(), "--json", *QUICK)[1])
    assert first["version"].startswith("20260301-")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1803859200")
    code, out, _ = run("--profile", "milling", "--data", csv(), "--json", "--activate", *QUICK)
    again = json.loads(out)
    assert code == 0
    assert (again["version"], again["new"], again["active"]) == (first["version"], False, True)
    assert "there already" in run("--profile", "milling", "--data", csv(), *QUICK)[1]
    other = json.loads(run("--profile", "milling", "--data", csv(), "--json", "--seed", 7, *QUICK)[1])
    assert other["version"].split("-")[1] != first["version"].split("-")[1]
    assert other["version"].startswith("20270301-")


def test_a_shelf_and_a_key_can_be_named_and_activated(run: Run, csv: Callable[..., Path], tmp_path: Path) -> None:
    shelf, key = tmp_path / "shelf", tmp_path / "mine" / "trainer.key"
    arguments = ("--profile", "pump", "--data", csv("pump"), "--models", shelf, "--key", key, "--activate", *QUICK)
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "Published pump" in out
    assert bundle.active(shelf, "pump", signing.trusted_keys(key.parent)).profile.name == "pump"
    assert not (tmp_path / "box").exists()


def test_a_profile_can_be_a_file(run: Run, csv: Callable[..., Path], tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text("milling").replace('name = "milling"', 'name = "own_mill"', 1))
    code, out, err = run("--profile", own, "--data", csv(), "--json", *QUICK)
    assert code == 0, err
    assert json.loads(out)["profile"] == "own_mill"


def test_bad_rows_are_left_out_and_counted(run: Run, csv: Callable[..., Path]) -> None:
    def spoil(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(torque=pl.when(pl.int_range(pl.len()) % 50 == 0).then(5000.0).otherwise("torque"))

    told = json.loads(run("--profile", "milling", "--data", csv(change=spoil), "--json", *QUICK)[1])
    assert (told["rows"], told["rows_left_out"]) == (784, 16)
    card = json.loads((Path(told["folder"]) / "card.json").read_text())
    assert sum(issue["count"] for issue in card["data"]["issues"]) == 16


def test_a_folder_of_machines_is_read_whole(tmp_path: Path) -> None:
    profile = load("milling")
    frame = small_models.rows(profile)
    for number, part in enumerate(frame.iter_slices(200)):
        folder = tmp_path / "plant" / f"mill-{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.csv").write_text(as_csv(profile, part))
    (tmp_path / "plant" / "notes.txt").write_text("not data")
    found = training_data.read(profile, [tmp_path / "plant", tmp_path / "plant" / "mill-0" / "0.csv"])
    assert len(found.matrix) == 800
    assert set(found.machines) == {"mill-0", "mill-1"}
    assert len(found.files) == 4


def _without(*columns: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.drop(columns)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (_without("machine_failure"), "training.label", "Machine failure"),
        (lambda frame: frame.with_columns(machine_failure=False), "training.folds", "no failure"),
        (lambda frame: frame.with_columns(torque=5000.0), "training.rows", "torque"),
        (lambda frame: frame.head(0), "", ""),
        (lambda frame: frame.with_columns(pl.lit(True).alias("machine_failure")), "training.folds", "without a failure"),
        (lambda frame: frame.sort("machine_failure").tail(frame["machine_failure"].sum() + 1), "training.folds", "1 row"),
        (_without("torque"), "training.rows", "missing_column in torque"),
    ],
)  # fmt: skip
def test_data_of_no_use_publishes_nothing(
    run: Run, csv: Callable[..., Path], tmp_path: Path, change: Any, code: str, says: str
) -> None:
    exit_code, out, err = run("--profile", "milling", "--data", csv(change=change), "--json", *QUICK)
    assert exit_code == 1
    told = json.loads(out)
    assert told["published"] is False
    assert told["code"].startswith(code)
    last = err.strip().splitlines()[-1]
    assert last == f"model train: {told['message']}"
    assert says in last
    assert not (tmp_path / "box" / "models").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--profile", "milling"],
        ["--profile", "nosuch", "--data", "CSV"],
        ["--profile", "milling", "--data", "/nowhere.csv"],
        ["--profile", "milling", "--data", __file__],
        ["--profile", "milling", "--data", "CSV", "--folds", "1"],
        ["--profile", "milling", "--data", "CSV", "--seed", "-1"],
        ["--profile", "milling", "--data", "CSV", "--trees", "0"],
        ["--profile", "milling", "--data", "CSV", "--folds", "x"],
        ["--profile", "milling", "--data", "CSV", "--nonsense"],
        ["--profile", "milling", "--data", "CSV", "--fold", "2"],
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(run: Run, csv: Callable[..., Path], arguments: list[str]) -> None:
    words = [str(csv()) if word == "CSV" else word for word in arguments]
    code, _, err = run(*words)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_a_wrong_profile_or_key_is_a_fault(run: Run, csv: Callable[..., Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text("milling").replace("maximum = 320", "maximum = 20"))
    code, _, err = run("--profile", wrong, "--data", csv(), *QUICK)
    assert code == 1
    assert "air_temperature" in err
    bad_key = tmp_path / "bad.key"
    bad_key.write_text("no key")
    code, _, err = run("--profile", "milling", "--data", csv(), "--key", bad_key, *QUICK)
    assert code == 1
    assert "bad.key" in err
    assert bundle.installed(tmp_path / "box" / "models", "milling") == []


def test_a_shelf_that_cannot_be_written_is_a_fault(run: Run, csv: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("--profile", "milling", "--data", csv(), "--models", tmp_path / "file", *QUICK)
    assert code == 1
    assert "Nothing was published" in err.strip().splitlines()[-1]


@pytest.mark.parametrize("fold", [True, False], ids=["a fold's forest", "the final forest"])
def test_the_gate_lets_no_wrong_conversion_through(
    run: Run, csv: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: bool
) -> None:
    """The converter is replaced by one that is silently wrong, as some converters are."""
    right = export.convert
    conversions = 0

    def wrong(model: Forest, profile: Profile) -> bytes:
        nonlocal conversions
        conversions += 1
        made = onnx.load_model_from_string(right(model, profile))
        if conversions == (1 if fold else 3):
            for attribute in made.graph.node[0].attribute:
                if attribute.name == "nodes_values":
                    attribute.floats[0] *= 1.02
        data: bytes = made.SerializeToString(deterministic=True)
        return data

    monkeypatch.setattr(export, "convert", wrong)
    code, out, err = run("--profile", "milling", "--data", csv(), "--json", "--activate", *QUICK)
    assert code == 1
    assert json.loads(out)["code"] == "training.parity"
    assert "Nothing was published" in err
    assert conversions == (1 if fold else 3)
    assert not (tmp_path / "box" / "models").exists()


def test_as_a_child_process_it_runs_from_anywhere_and_repeats_itself(csv: Callable[..., Path], tmp_path: Path) -> None:
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment = {**os.environ, "APPLIANCE_DATA_DIR": str(tmp_path / name / "box")}
        arguments = ["--profile", "milling", "--data", str(csv()), "--json", "--folds", "2", "--trees", "6"]
        command = [sys.executable, "-m", "model.train", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    models = [(Path(entry["folder"]) / "model.onnx").read_bytes() for entry in told]
    assert models[0] == models[1]
    assert told[0]["version"][9:] == told[1]["version"][9:]
