"""The command: what it prints, how it refuses, and what a signal or a kill leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model import simulate
from model.plants import Milling, Pump, csv_bytes
from tests.datasets import dataset


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = simulate.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(autouse=True)
def own_signal_handlers() -> object:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "model.simulate", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: object, process: subprocess.Popen[str]) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- one file --------------------------------------------------------------------------------------------------------


def test_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "train.csv"
    code, printed, errors = run(capsys, "--rows", 12_345, "--out", out, "--seed", 4, "--json")
    summary = json.loads(printed)
    assert (code, errors) == (0, "")
    assert out.read_bytes() == csv_bytes("milling", 12_345, 4)
    assert summary["rows"] == 12_345
    assert summary["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == ["train.csv"]  # noqa: PTH208


def test_one_file_of_pumps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "train.csv"
    code, printed, _ = run(capsys, "--plant", "pump", "--rows", 200, "--out", out, "--begin", "2026-07-01")
    assert (code, printed) == (0, f"Wrote 200 rows to {out}.\n")
    lines = out.read_text("windows-1252").splitlines()
    assert {line[:4] for line in lines[1:]} == {f"P-{n:02d}" for n in range(1, Pump.training_machines + 1)}
    assert lines[1].startswith("P-01;01.07.2026 00:00:00;")


def test_a_stopped_file_does_not_exist(tmp_path: Path) -> None:
    process = start("--rows", 10**9, "--out", tmp_path / "huge.csv", "--json")
    wait_for(lambda: any(path.stat().st_size for path in tmp_path.iterdir()), process)
    process.terminate()
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "")
    assert json.loads(printed)["stopped"]
    assert list(tmp_path.iterdir()) == []


# -- a plant over time -----------------------------------------------------------------------------------------------


def test_a_plant_over_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, manifest = tmp_path / "raw", tmp_path / "manifest.jsonl"
    arguments = ("--into", raw, "--machines", 2, "--every", 0, "--rows-per-file", 20, "--files", 3, "--json")
    code, printed, _ = run(capsys, *arguments, "--fault", "null", "--fault", "crlf", "--manifest", manifest)
    summary = json.loads(printed)
    assert code == 0
    assert (summary["files"], summary["rows"], summary["faulty_files"], summary["stopped"]) == (6, 120, 6, False)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["faults"] for line in lines] == [["null"], ["crlf"]] * 3
    code, printed, _ = run(capsys, *arguments)
    assert [path.name for path in sorted(raw.glob("milling/mill-1/*"))][-1] == "mill-1_000006.csv"
    contents = {path.read_bytes() for path in raw.glob("milling/*/*")}
    assert len(contents) == 12


def test_a_given_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = dataset("ai4i2020.csv")
    code, printed, _ = run(
        capsys, "--from", source, "--into", tmp_path, "--every", 0, "--machines", 2, "--rows-per-file", 4_000
    )
    assert (code, printed) == (0, f"Dropped 3 files, 10,000 rows, into {tmp_path}.\n")
    assert len(list(tmp_path.glob("milling/mill-1/*.csv"))) == 2


def test_a_given_file_of_an_own_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = Path(simulate.__file__).parent / "profiles" / "milling.toml"
    (tmp_path / "own.toml").write_text(shipped.read_text().replace('name = "milling"', 'name = "own"'))
    (tmp_path / "own.csv").write_bytes(csv_bytes("milling", 10))
    code, _, _ = run(
        capsys, "--plant", tmp_path / "own.toml", "--from", tmp_path / "own.csv", "--into", tmp_path, "--every", 0
    )
    assert code == 0
    assert (tmp_path / "own/machine-1/machine-1_000001.csv").read_bytes() == csv_bytes("milling", 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("careless", [False, True])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: int, careless: bool) -> None:
    arguments = ["--careless"] if careless else []
    process = start("--into", tmp_path, "--machines", 2, "--every", 0.02, "--rows-per-file", 50, "--json", *arguments)
    wait_for(lambda: len(list(tmp_path.glob("milling/*/*.csv"))) >= 2, process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    summary = json.loads(printed)
    assert (process.returncode, errors, summary["stopped"]) == (0, "", True)
    files = list(tmp_path.glob("milling/*/*"))
    assert len(files) == summary["files"]
    assert {path.read_bytes().count(b"\n") for path in files} == {51}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [".simulate-milling.json"]


def test_a_kill_leaves_no_half_file_and_repeats_nothing(tmp_path: Path) -> None:
    plant = Milling()
    for round_ in range(1, 4):
        process = start("--into", tmp_path, "--machines", 1, "--every", 0, "--rows-per-file", 2_000)
        wait_for(lambda: len(list(tmp_path.glob("milling/mill-1/*.csv"))) >= 4 * round_, process)  # noqa: B023
        process.kill()
        process.communicate()
    files = sorted(tmp_path.glob("milling/mill-1/[!.]*"))
    for path in files:
        number = int(path.stem.removeprefix("mill-1_"))
        expected = plant.header() + plant.lines(plant.rows(0, 1, (number - 1) * 2_000, 2_000))
        assert path.read_bytes() == expected
    assert len(files) >= 12


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Give either --out FILE with --rows N, or --into RAW_DIR."),
        (["--rows", "3"], "Give either --out"),
        (["--rows", "3", "--into", "raw"], "--rows and --out go together"),
        (["--rows", "3", "--out", "x.csv", "--into", "raw"], "Give either --out"),
        (["--rows", "0", "--out", "x.csv"], "'0' is no whole number of at least 1"),
        (["--rows", "1e6", "--out", "x.csv"], "'1e6' is no whole number"),
        (["--rows", "3", "--out", "nowhere/x.csv"], "There is no folder nowhere"),
        (["--rows", "3", "--out", "x.csv", "--faults", "0.5"], "belong to --into"),
        (["--into", "raw", "--plant", "oven"], "There are milling, pump"),
        (["--into", "raw", "--plant", "own.toml"], "There are milling, pump"),
        (["--into", "raw", "--every", "soon"], "'soon' is not a number of seconds"),
        (["--into", "raw", "--every", "nan"], "'nan' is not a number of seconds"),
        (["--into", "raw", "--faults", "2"], "'2' is not a share between 0 and 1"),
        (["--into", "raw", "--fault", "nil"], "no fault 'nil'"),
        (["--into", "raw", "--begin", "2026-01-01"], "hold no time"),
        (["--into", "raw", "--plant", "pump", "--begin", "1.1.2026"], "is no date such as"),
        (["--into", "raw", "--plant", "pump", "--machines", "100"], "room for 99 machines"),
        (["--into", "raw", "--from", "nowhere.csv"], "nowhere.csv is no file"),
        (["--into", "raw", "--from", "nowhere.csv", "--files", "2"], "do not go with --from"),
        (["--into", "raw", "--seed", "-1"], "'-1' is no whole number of at least 0"),
        (["--into", "raw", "--mach", "2"], "Unrecognized arguments: --mach 2"),
    ],
)
def test_wrong_usage_gets_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, errors = run(capsys, *arguments)
    assert (code, printed) == (2, "")
    assert errors.startswith("appliance simulate: ")
    assert errors.count("\n") == 1
    assert says in errors


def test_a_full_or_forbidden_place_gets_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "milling").write_text("a file where a folder belongs")
    code, printed, errors = run(capsys, "--into", tmp_path, "--files", 1, "--every", 0)
    assert (code, printed) == (1, "")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


def test_the_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "--list-faults", "--json")
    kinds = json.loads(printed)["faults"]
    assert code == 0
    _, plain, _ = run(capsys, "--list-faults")
    for kind in kinds:
        assert any(line.startswith(kind["name"]) and kind["description"] in line for line in plain.splitlines())
    assert len(kinds) >= 20
