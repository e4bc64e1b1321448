"""The bench of reading asks every question of a real API, and its page names each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.bench import machine, panels, reads


def test_a_small_run_asks_every_question(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(panels, "DAYS", 2)
    monkeypatch.setattr(reads, "PAGE", tmp_path / "performance-reads.md")
    assert reads.main(["--rows", "48000", "--asked", "1", "--models", str(shelf), "--write"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 48_000
    assert set(found["questions"]) == set(reads.QUESTIONS)
    rows = {name: one["rows"] for name, one in found["questions"].items()}
    for name in ("the newest", "a machine", "a machine, silent for a month", "source api", "source webapp", "a file"):
        assert rows[name] == reads.ROWS_A_PAGE, name
    assert rows["passing, at least 40 to 90 %"] == 0
    assert found["questions"]["the newest"]["later"]["p95_ms"] > 0
    written = (tmp_path / "performance-reads.md").read_text()
    assert all(f"\n| {name} |" in written for name in reads.QUESTIONS)
    assert "48,000" in written


def test_a_question_that_is_too_slow_is_named() -> None:
    quick = {"p50_ms": 1.0, "p95_ms": 2.0, "most_ms": 3.0}
    questions = {
        "this one": {"first": quick, "later": None, "rows": 7},
        "that one": {"first": quick, "later": {**quick, "p95_ms": reads.GOAL_MS + 1}, "rows": 100},
    }
    found = {"machine": machine.facts(), "questions": questions, "others": 0.0, "asked": 1, "rows": 10}
    found |= {"command": "make", "date": "2026-01-01", "postgres": "18", "shared_buffers": "1MB"}
    written = reads.markdown(found | {"heap_bytes": 1000, "index_bytes": 500})
    assert "1 of 2 questions keep the aim, 95 of 100 answers within 100 ms; not: that one." in written
    assert "| this one | 7 | 1 | 2 | 3 |  | kept |" in written


def test_a_process_that_is_named_twice_is_counted_once() -> None:
    once = machine.tree_seconds(os.getpid())
    assert once <= machine.tree_seconds(os.getpid(), os.getpid()) < once + 0.5
