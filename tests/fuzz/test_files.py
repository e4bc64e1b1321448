"""Spoiled files by chance, a few each time: what the fuzzer does at length (``make fuzz``), without seeing the code."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import counts
from tests.fuzz.target import WORDS, Target, seeds

SEEDS = list(seeds())
place = st.floats(0, 1)
# (how, where, how far, with what)
change = st.tuples(
    st.sampled_from(["put", "cut", "twice", "over"]),
    place,
    st.integers(1, 60),
    st.sampled_from(WORDS) | st.binary(max_size=4),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("fuzz"))


@given(begun=st.sampled_from(SEEDS), changes=st.lists(change, max_size=5))
@settings(max_examples=counts.examples(800), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_spoiled_file_ends_in_a_verdict(
    target: Target, begun: bytes, changes: list[tuple[str, float, int, bytes]]
) -> None:
    data = bytearray(begun)
    for how, where, length, word in changes:
        at = 1 + int(where * (len(data) - 1))
        match how:
            case "put":
                data[at:at] = word
            case "cut":
                del data[at : at + length]
            case "twice":
                data[at:at] = data[at : at + length]
            case _:
                data[at : at + len(word)] = word
    before = target.verdicts.total()
    target(bytes(data))
    assert target.verdicts.total() == before + 1


def test_sound_and_foreign_files_to_begin_with_reach_most_verdicts(tmp_path: Path) -> None:
    target = Target(tmp_path)
    for data in SEEDS:
        target(data)
    assert {"all good", "some bad", "all bad", "header", "encoding", "compressed", "format"} <= set(target.verdicts)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed; make fuzz installs it"
)
def test_the_fuzzer_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--files", "150", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("150 files from seed 1 in ")
    assert not (tmp_path / "kept").exists()
