"""The clock of the database, which dates all rows, leaps in a pass and is set right: none waits for that, none is lost."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from appliance.store import embedded
from appliance.store.migrations import migrate
from tests.conftest import FAST, MEMORY, PREFIX
from tests.faults import audit
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.campaign import Journey, finish, undisturbed
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults

LIBRARY = Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketime.so.1")
# An empty battery, a leap to a far year, over the end of months, and the hour that people get wrong.
LEAPS = ("-20000d", "+3650d", "+45d", "-1h", "+1h")
# Of the calls of a pass: it has begun, and taken in some of its files.
LEAP_AT = 100


class Clock:
    """What a server takes for the time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.leap("+0")

    def leap(self, by: str) -> None:
        """From the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{by}\n")
        new.rename(self._file)

    @contextmanager
    def believed(self) -> Iterator[None]:
        """By what is started meanwhile."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                os.environ.pop(name)
            os.environ.update(before)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    if not LIBRARY.exists():
        pytest.skip("no clock can be faked here: there is no libfaketime")
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    try:
        yield Clock(folder / "time")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[embedded.Server]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        with clock.believed():
            server = embedded.start(folder, options=FAST)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def wanted(runners: list[Runner], boxes: Boxes, dropped: Start) -> audit.Told:
    return undisturbed(runners[0], boxes, Journey("", dropped, "ingest_and_predict"))


@pytest.mark.parametrize("leap", LEAPS)
@pytest.mark.parametrize("back", [True, False], ids=["set back", "left so"])
def test_the_clock_leaps_in_the_middle_of_a_pass(
    clock: Clock,
    server: embedded.Server,
    runners: list[Runner],
    dropped: Start,
    wanted: audit.Told,
    tmp_path: Path,
    leap: str,
    back: bool,
) -> None:
    """It leaps in the middle of a pass. All is taken in and predicted, whatever time it is and whether that is mended."""
    clock.leap("+0")
    folder = tmp_path / "box"
    shutil.copytree(dropped.folder, folder, symlinks=True)
    box = Box(folder, _database(server, f"leap_{LEAPS.index(leap)}_{back}".lower()))
    runner = runners[0]
    held = runner.hold("ingest", box.settings, LEAP_AT)
    clock.leap(leap)
    assert held.go().error == ""
    assert _years_off(box) == pytest.approx(_years(leap), abs=1e-4)
    if back:
        clock.leap("+0")
    assert runner.run("predict", box.settings).done == {"parts": 5, "rows": wanted.accounts["rows_predicted"]}
    clock.leap("+0")
    finish(runner, box, wanted)


def _database(server: embedded.Server, name: str) -> str:
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    connection.close()
    dsn = server.dsn.replace("/appliance?", f"/{name}?")
    migrate(dsn)
    return dsn


def _years(leap: str) -> float:
    return float(leap[:-1]) / {"d": 365.0, "h": 365.0 * 24}[leap[-1]]


def _years_off(box: Box) -> float:
    """By how much the clock is off that the database believes."""
    with box.looking() as connection:
        said = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one()
    return float(said - time.time()) / (365 * 86400)
