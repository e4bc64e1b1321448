"""The bench of growth takes files of all sizes down the real road, and its page holds each against the aims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import growth, machine


def test_a_small_run_takes_each_size(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "PAGE", tmp_path / "performance-growth.md")
    assert growth.main(["--rows", "3000", "1000", "--models", str(shelf), "--write"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["rows"] for one in found["sizes"]] == [1000, 3000]
    assert all(one["table"]["rows"] <= one["rows"] and one["table"]["heap"] > 0 for one in found["sizes"])
    assert found["pass"]["cpu"] > 0
    assert "1 file" in found["pass"]["told"]
    written = (tmp_path / "performance-growth.md").read_text()
    assert "| 3,000 |" in written


def test_what_is_not_kept_is_said_so() -> None:
    table = {"heap": 190, "indexes": 157, "rows": 1}
    small = {
        "rows": 10,
        "bytes": 100,
        "ingest": 1.0,
        "predict": 1.0,
        "memory_mib": 100.0,
        "table": table,
        "others": 0.0,
    }
    large = {**small, "rows": 100, "ingest": 20.0, "predict": 20.0, "memory_mib": 900.0}
    found = {
        "machine": machine.facts(),
        "command": "make",
        "date": "2026-01-01",
        "sizes": [small, large],
        "columns": 12,
    }
    written = growth.markdown(found | {"pass": {"cpu": 2.5, "others": 0.0}})
    assert "| 2.00 times | 1.25 times | not kept |" in written
    assert "| 900 MiB | 700 MiB | not kept |" in written
    assert "| 190 bytes | 193 bytes | kept |" in written
    assert "| 2.50 s | 3 s | kept |" in written
