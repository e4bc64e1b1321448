"""A box's Airflow in a folder and a database of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from appliance import ports
from appliance.airflow import setup
from appliance.airflow.setup import Ready
from appliance.settings import Settings
from tests.conftest import Cluster

_numbers = itertools.count(1)
# Stands for a password in a DSN; the embedded server lets its owner in without looking at it.
HUSH = "hush-of-the-dsn"


@dataclass(frozen=True)
class First:
    """What the first setting up of a box did, what it told, and what ``ps`` showed of it meanwhile."""

    ready: Ready
    told: list[str]
    seen: set[str]


def settings_of(folder: Path, dsn: str, **more: object) -> Settings:
    return Settings(**({"data_dir": folder, "dsn": dsn, "schedule": "airflow"} | more))  # type: ignore[arg-type]


def environment_of(settings: Settings) -> dict[str, str]:
    """How a process gets these settings, those of Airflow and the database alone."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "AIRFLOW"))}
    return plain | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.require_dsn(),
        "APPLIANCE_SCHEDULE": settings.schedule,
        "APPLIANCE_AIRFLOW_PORT": str(settings.airflow_port),
        **({"APPLIANCE_AIRFLOW_DSN": settings.airflow_dsn.get_secret_value()} if settings.airflow_dsn else {}),
    }


def command(
    environment: Mapping[str, str], *arguments: str, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "airflow", *arguments],
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def shown_of(process: psutil.Process) -> Iterator[str]:
    """What ``ps`` shows of a process and all that it started."""
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            yield " ".join(one.cmdline())


@pytest.fixture
def airflow_dsn(cluster: Cluster) -> Iterator[str]:
    """Of a database that is not there yet."""
    name = f"airflow_{next(_numbers)}"
    yield cluster.dsn(name)
    cluster.drop(name)


@pytest.fixture
def settings(tmp_path: Path, dsn: str, airflow_dsn: str) -> Settings:
    return settings_of(tmp_path, dsn, airflow_dsn=airflow_dsn)


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory, embedded_cluster: Cluster) -> Iterator[Settings]:
    """A box whose Airflow can be reached at a free port, and is not set up yet."""
    ours, name = embedded_cluster.create(), f"airflow_{next(_numbers)}"
    airflow = embedded_cluster.dsn(name).replace("@", f":{HUSH}@", 1)
    yield settings_of(
        tmp_path_factory.mktemp("box"), embedded_cluster.dsn(ours), airflow_dsn=airflow, airflow_port=ports.choose(0)
    )
    embedded_cluster.drop(name)
    embedded_cluster.drop(ours)


@pytest.fixture(scope="session")
def first(box: Settings) -> First:
    """That box is set up from here on."""
    first = First(Ready(), [], set())
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            first.seen.update(shown_of(psutil.Process()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        return replace(first, ready=setup.init(box, first.told.append, environment_of(box)))
    finally:
        done.set()
        watcher.join()
