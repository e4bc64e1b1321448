from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance import vitals
from appliance.checks.base import Fault
from appliance.vitals import Minute


def test_a_minute_tells_what_was_asked_and_begins_anew() -> None:
    minute = Minute()
    for number in range(100):
        minute.request(503 if number < 3 else 200, number / 100)
    assert minute.take() == {
        "api_requests": 100,
        "api_errors": 3,
        "api_seconds_p50": 0.5,
        "api_seconds_p95": 0.95,
        "api_seconds_most": 0.99,
    }
    assert minute.take() == {"api_requests": 0, "api_errors": 0}
    minute.request(404, 0.25)
    assert minute.take() == {
        "api_requests": 1,
        "api_errors": 0,
        "api_seconds_p50": 0.25,
        "api_seconds_p95": 0.25,
        "api_seconds_most": 0.25,
    }


def test_a_flood_of_requests_is_counted_and_takes_no_memory_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    minute = Minute()
    for _ in range(vitals._MOST_TIMES + 10):
        minute.request(200, 0.1)
    assert len(minute._seconds) == vitals._MOST_TIMES
    assert minute.take()["api_requests"] == vitals._MOST_TIMES + 10


def test_the_machine_is_told_in_figures_that_can_be(tmp_path: Path) -> None:
    found = vitals.machine(tmp_path / "not" / "there" / "yet")
    assert 0 <= found["box_cpu_share"] <= 1
    assert 0 < found["box_memory_share"] < 1
    assert 0 < found["box_disk_free_bytes"] <= found["box_disk_bytes"]
    assert found["api_memory_bytes"] > 1 << 20
    assert set(found) >= {"box_load", "box_swap_bytes"}


def test_what_the_system_hides_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(*_: Any, **__: Any) -> None:
        raise PermissionError("/proc is closed")

    for name in ("cpu_percent", "virtual_memory", "swap_memory", "getloadavg"):
        monkeypatch.setattr(psutil, name, hidden)
    assert set(vitals.machine(tmp_path)) == {"api_memory_bytes", "box_disk_bytes", "box_disk_free_bytes"}


def test_faults_and_warnings_are_told_apart() -> None:
    faults = [Fault("a", "fault", "A.", "b"), Fault("b", "warning", "B.", "b"), Fault("c", "warning", "C.", "b")]
    assert vitals.found(faults) == {"box_faults": 1, "box_warnings": 2}
    assert vitals.found([]) == {"box_faults": 0, "box_warnings": 0}
