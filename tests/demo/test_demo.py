"""``make demo`` as a visitor runs it: the whole road in child processes, and nothing left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from appliance import bundle, signing
from tests import counts, small_models
from tests.conftest import open_folder
from tests.datasets import dataset

KEYS = {
    "files", "rows_in", "rows_good", "rows_bad", "rows_predicted", "failures_predicted", "duplicates", "quarantined",
    "issues", "seconds", "model_version",
}  # fmt: skip


# The demo, with fewer rows to train on.
SMALL = "from appliance import cli, demo; demo.TRAINING_ROWS = 5_000; cli.main()"


def _start(folder: Path, *arguments: str, program: Sequence[str] = ("-m", "appliance")) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    return subprocess.Popen(
        [sys.executable, "-u", *program, "demo", "--folder", str(folder), "--port", "0", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _once(folder: Path, *arguments: str, program: Sequence[str] = ("-m", "appliance")) -> tuple[dict[str, object], str]:
    demo = _start(folder, "--once", "--json", *arguments, program=program)
    out, err = demo.communicate(timeout=240)
    assert demo.returncode == 0, err
    result: dict[str, object] = json.loads(out.splitlines()[-1])
    return result, err


def _with_model(above: Path) -> Path:
    data = above / "demo" / "data"
    key = data / "keys" / "signing.key"
    signing.create_key(key)
    (data / "models").mkdir()
    made = bundle.publish(small_models.files("milling"), data / "models", key)
    bundle.activate(data / "models", "milling", made.version, signing.trusted_keys(key.parent))
    return above / "demo"


@pytest.fixture
def folder(open_path: Path) -> Path:
    """A demo's folder in which a small model serves already, so that none is trained."""
    return _with_model(open_path)


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """Such a folder in which one demo runs after the other: the next finds what those before it set up."""
    with open_folder() as above:
        yield _with_model(above)


@pytest.fixture
def live(used: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that runs, with its first predictions made by the schedule of Airflow."""
    yield from _live(used)


@pytest.fixture
def plain(used: Path) -> Iterator[subprocess.Popen[str]]:
    """One that keeps the schedule itself and has no screens, which starts sooner."""
    yield from _live(used, "--no-airflow", "--no-ui")


def _live(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    demo = _start(folder, "--rows-per-file", "40", *arguments)
    try:
        assert demo.stdout is not None
        known: set[int] = set()
        for line in demo.stdout:
            if said := re.search(r"predicted ([\d,]+)", line):
                known.add(int(said[1].replace(",", "")))
            if len(known) > 1:
                break
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def _words(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


def test_from_nothing_to_an_exact_accounting_and_again(open_path: Path) -> None:
    program = ("-m", "appliance") if counts.LONG else ("-c", SMALL)
    first, said = _once(open_path / "demo", program=program)
    assert set(first) >= KEYS | {"precision", "recall"}
    assert "training on them" in said
    assert first["rows_in"] == first["rows_good"] + first["rows_bad"]  # type: ignore[operator]
    assert first["rows_predicted"] == first["rows_good"] > 0  # type: ignore[operator]
    assert first["issues"], "the plant plays faults"
    again, said = _once(open_path / "demo", "--offline")
    assert "training on them" not in said
    assert "cut off for" in said
    assert "no difference" in said
    assert again["copies_failed"] > 0  # type: ignore[operator]
    assert again["backlog_objects"] == again["copied_objects"] == again["objects_compared"]
    assert again["backlog_bytes"] == again["copied_bytes"] > 0  # type: ignore[operator]
    assert again["copied_objects"] > first["files"], "what the first one left is copied too"  # type: ignore[operator]
    assert (again["left_to_copy"], again["differences"]) == (0, 0)
    assert again["model_version"] == first["model_version"]
    assert again["duplicates"] == 0, "the plant goes on where it stopped"
    assert again["rows_predicted"] == again["rows_good"] > 0  # type: ignore[operator]


def test_a_file_of_ones_own_is_played_row_by_row(folder: Path) -> None:
    data = dataset("ai4i2020.csv")
    first, _ = _once(folder, "--data", str(data))
    counts = {name: first[name] for name in ("rows_in", "rows_good", "rows_bad", "rows_predicted", "duplicates")}
    assert counts == {"rows_in": 10_000, "rows_good": 10_000, "rows_bad": 0, "rows_predicted": 10_000, "duplicates": 0}
    again, _ = _once(folder, "--data", str(data))
    assert again["duplicates"] == first["files"]
    assert {**again, "seconds": 0, "duplicates": 0} == {**first, "seconds": 0}


def test_ctrl_c_ends_everything(live: subprocess.Popen[str]) -> None:
    processes = psutil.Process(live.pid).children(recursive=True)
    names = " ".join(word for process in processes for word in _words(process))
    for part in (
        "appliance api",
        "airflow api_server",
        "airflow.process scheduler",
        "airflow worker",
        "model.simulate",
    ):
        assert part in names
    assert "postgres" in names
    live.send_signal(signal.SIGINT)
    _, err = live.communicate(timeout=60)
    assert live.returncode == 0, err
    assert "no process is left" in err
    assert _gone(processes, 10)


def test_a_killed_demo_leaves_no_process_either(live: subprocess.Popen[str]) -> None:
    processes = psutil.Process(live.pid).children(recursive=True)
    assert any("airflow worker" in " ".join(_words(process)) for process in processes)
    live.kill()
    assert _gone(processes, 30)


def test_one_demo_a_folder_and_a_dead_child_ends_it_with_a_sentence(plain: subprocess.Popen[str], used: Path) -> None:
    second = _start(used, "--once")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "A demo is running" in err
    processes = psutil.Process(plain.pid).children(recursive=True)
    [api] = [process for process in processes if "api" in _words(process)]
    api.kill()
    _, err = plain.communicate(timeout=60)
    assert plain.returncode == 1
    assert "The API ended" in err
    assert _gone(processes, 1)


def test_a_missing_file_is_one_sentence(open_path: Path) -> None:
    demo = _start(open_path / "demo", "--data", "absent.csv")
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert err.strip() == "appliance: There is no file absent.csv. Mend the path after DATA= or --data."


def test_a_hopeless_file_is_quarantined_and_counted(folder: Path, open_path: Path) -> None:
    other = open_path / "other.csv"
    other.write_text("a,b\n" + "1,2\n" * 300)
    result, _ = _once(folder, "--data", str(other))
    assert result["rows_in"] == 0
    assert result["quarantined"] == 2
