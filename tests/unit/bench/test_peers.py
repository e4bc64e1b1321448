"""What surrounds the peers: the file both read, the comparison of answers, environments, processes and the page.

The peers themselves are installed and run by ``make bench-peers`` alone.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance import quality, reader
from model.plants import PLANTS, csv_bytes
from tests import profiles
from tests.bench import machine
from tests.bench.peers import __main__ as peers
from tests.bench.peers import environments, pipeline, processes, serving
from tests.bench.peers.environments import CannotBeHad

ROWS = 2_000


def test_the_file_has_one_bad_row_in_a_hundred_of_each_kind(tmp_path: Path) -> None:
    profile, path = profiles.load("milling"), tmp_path / "rows.csv"
    path.write_bytes(csv_bytes(PLANTS["milling"](), ROWS, seed=1))
    pipeline.spoil(path)
    with reader.read_bytes(path.read_bytes(), "csv", profile) as batches:
        checker = quality.Checker(profile, batches.header, "mill-1", datetime.now(UTC))
        bad = sum(checker.check(batch).bad.height for batch in batches)
    assert bad == ROWS / pipeline.SPOILED - 1
    broken = {(issue.rule, issue.column) for issue in checker.issues()}
    assert {rule for rule, _ in broken} >= {"range", "category", "not_null", "pattern", "duplicate_row"}
    assert len(broken) == 6


def test_the_contract_is_told_without_words_of_ours() -> None:
    profile = profiles.load("milling")
    told = {one["header"]: one for one in pipeline.rules(profile)}
    assert told["Torque [Nm]"]["required"]
    assert (told["Torque [Nm]"]["minimum"], told["Torque [Nm]"]["maximum"]) == (0, 100)
    assert told["Type"]["categories"] == ["L", "M", "H"]
    assert not told["TWF"]["required"]
    facts = pipeline.server_facts(profile)
    assert facts["inputs"] == list(profile.matrix_names)
    assert "pi()" not in facts["features"]["power"]


def test_other_answers_are_no_comparison() -> None:
    ours = {1: (0.25, True), 2: (0.01, False)}
    pipeline.demand_same(ours, {1: (0.25, True), 2: (0.01, False)})
    with pytest.raises(RuntimeError, match="row 2 was predicted by the appliance alone"):
        pipeline.demand_same(ours, {1: (0.25, True)})
    with pytest.raises(RuntimeError, match="row 1"):
        pipeline.demand_same(ours, {1: (0.26, True), 2: (0.01, False)})
    with pytest.raises(RuntimeError, match="row 2"):
        pipeline.demand_same(ours, {1: (0.25, True), 2: (0.01, True)})


def test_peers_have_the_libraries_that_make_the_answers_in_our_versions() -> None:
    assert environments.version("pipeline", "scikit-learn") == importlib.metadata.version("scikit-learn")
    for peer in serving.PEERS:
        assert environments.version(peer.name, "onnxruntime") == importlib.metadata.version("onnxruntime")
        assert environments.version(peer.name, peer.name)
    with pytest.raises(LookupError):
        environments.version("pipeline", "nothing")


def test_what_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "PINS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "gone.txt").write_text(f"gone @ file://{tmp_path}/gone-1.0-py3-none-any.whl\n")
    with pytest.raises(CannotBeHad, match="not found"):
        environments.python("gone")
    assert not list((tmp_path / "cache").rglob("whole"))


def test_programs_of_peers_know_nothing_of_this_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_DSN", "postgresql://secret@/")
    given = environments.variables(BENCH_THREADS="2")
    assert not [name for name in given if name.startswith("APPLIANCE_")]
    assert given["BENCH_THREADS"] == "2"


def test_a_server_is_ended_with_what_it_started(tmp_path: Path) -> None:
    port = processes.free_port()
    script = (
        "import subprocess, sys, http.server\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), http.server.BaseHTTPRequestHandler).serve_forever()\n"
    )
    with processes.served([sys.executable, "-c", script], port, os.environ, tmp_path) as pid:
        started = psutil.Process(pid).children(recursive=True)
        assert started
    assert not psutil.pid_exists(pid)
    assert not [one for one in started if one.is_running()]


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with pytest.raises(CannotBeHad, match="no model here"), processes.served(words, 1, os.environ, tmp_path):
        pass


def _found(**more: Any) -> dict[str, Any]:
    return {"machine": machine.facts(), "command": "make bench-peers", "date": "2026-01-01", **more}


def test_the_page_says_who_is_ahead_and_who_could_not_be_had() -> None:
    def ways(one: float, hundred: float) -> dict[str, dict[str, float]]:
        return {
            str(n): {"per_second": v, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_ms": 0.5}
            for n, v in ((1, one), (100, hundred))
        }

    servers = {serving.OURS: ways(4000, 400), "MLServer": ways(2000, 800)}
    part = {"rounds": 5, "seconds": 5.0, "servers": servers, "missing": {"BentoML": "no such wheel"}, "others": 0.0}
    written = peers.markdown(_found(serving=part))
    assert "The appliance is ahead of all: 2.0 times MLServer." in written
    assert "The appliance is not ahead: 0.50 times MLServer." in written
    assert "- BentoML could not be had here: no such wheel" in written
    assert "## A file" not in written


def test_the_page_has_the_ratio_of_the_usual_pipeline() -> None:
    steps = dict.fromkeys(("read", "check", "files", "predict", "store"), 2.0)
    part = {"rows": 100_000, "good": 99_001, "bad": 999, "failing": 10, "rounds": 5, "ours": 1.0, "theirs": 11.0}
    part |= {"spread": {"ours": [0.9, 1.1], "theirs": [10.0, 12.0]}, "steps": steps, "times": 11.0, "others": 0.0}
    part |= {"cpu": {"ours": 1.5, "theirs": 12.0}}
    written = peers.markdown(_found(pipeline=part))
    assert "| **times** | **11.0** (aim: at least 12, not kept) | 8.0 |" in written
    assert "could not be had" not in written
    assert "could not be had here: no network" in peers.markdown(_found(pipeline={"cannot_be_had": "no network"}))
