"""A journal that takes no more lines: whatever the services and passes want to say fails, and the work is done all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.client import Client
from appliance.errors import ApiAway
from tests.api.conftest import shelf
from tests.dags.conftest import environment_of
from tests.road.conftest import Road, mill, road, settings

__all__ = ["mill", "road", "settings", "shelf"]

FULL = Path("/dev/full")
_START_SECONDS = 60.0

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full"),
]


def environment(road: Road) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    more = {"APPLIANCE_LOG_LEVEL": "debug", "APPLIANCE_SCHEDULE": "other"}
    return ours | environment_of(road.settings, road.settings) | more


@contextmanager
def api(road: Road) -> Iterator[subprocess.Popen[bytes]]:
    """The API as a service whose every line is refused."""
    with FULL.open("wb") as nowhere:
        child = subprocess.Popen(
            [sys.executable, "-m", "appliance", "api"], env=environment(road), stdout=nowhere, stderr=nowhere
        )
    try:
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                with Client.of(road.settings) as client:
                    client.health()
                break
            except ApiAway:
                assert child.poll() is None, "the API ended"
                assert time.monotonic() < until
                time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        child.wait(30)


def call(road: Road, *words: str) -> int:
    with FULL.open("wb") as nowhere:
        return subprocess.run(
            [sys.executable, "-m", "appliance", *words], env=environment(road), stderr=nowhere, check=False, timeout=120
        ).returncode


def passes(road: Road) -> Sequence[int]:
    return [call(road, "ingest"), call(road, "predict", "--retry"), call(road, "maintain")]


def test_files_are_taken_and_predicted_while_the_journal_is_full(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.drop("milling", "refused.csv", b"\x00\x01 no table", "mill-1")
    with api(road) as service:
        assert list(passes(road)) == [0, 0, 0]
        assert service.poll() is None
    assert road.rows("SELECT count(*)::int AS n FROM prediction") == [{"n": 160}]
    assert road.waiting() == []
    assert road.broken_promises() == []
    assert {run["outcome"] for run in road.rows("SELECT outcome FROM run")} <= {"done", "skipped"}
