"""A box with its API, and a process in which its DAGs are played on a real Airflow database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from appliance.airflow import config, secrets
from appliance.settings import Settings
from tests.conftest import Cluster
from tests.road.conftest import api, mill, road, settings, shelf

__all__ = ["api", "mill", "road", "settings", "shelf"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Played:
    """How a run ended; ``states`` and ``tries`` by task."""

    state: str
    states: Mapping[str, str]
    tries: Mapping[str, int]
    run_id: str


@dataclass
class Stage:
    """Plays the DAGs of any box. ``airflow`` are the settings of Airflow itself, which all boxes share."""

    airflow: Settings
    log: Path
    process: subprocess.Popen[str]

    def play(self, dag: str, box: Settings, breaks: Mapping[str, str] | None = None, **more: str) -> Played:
        """One run of that DAG for that box, to its end. ``more`` are further settings."""
        environment = environment_of(box, self.airflow) | {f"APPLIANCE_{k.upper()}": v for k, v in more.items()}
        answer = self.ask({"dag": dag, "environment": environment, "breaks": dict(breaks or {})})
        tasks = answer["tasks"]
        states = {name: task["state"] for name, task in tasks.items()}
        return Played(answer["state"], states, {n: t["tries"] for n, t in tasks.items()}, answer["run_id"])

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"trouble": "the process ended"}
        assert "trouble" not in answer, f"{answer['trouble']}\n{self.told()[-4000:]}"
        return answer

    def told(self) -> str:
        """All that Airflow and its tasks wrote so far."""
        return self.log.read_text(errors="replace")


def environment_of(box: Settings, airflow: Settings) -> dict[str, str]:
    """The settings of a box as a process gets them, with an Airflow that others use too."""
    given = box.model_dump(exclude_none=True) | {
        "schedule": "airflow",
        "airflow_home": airflow.airflow_home,
        "airflow_dsn": airflow.airflow_dsn,
    }
    plain = {k: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for k, v in given.items()}
    return {f"APPLIANCE_{name.upper()}": value for name, value in plain.items()}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, embedded_cluster: Cluster) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("airflow")
    name = embedded_cluster.create("template1")
    airflow = Settings(
        data_dir=folder / "data",
        dsn=embedded_cluster.dsn("postgres"),
        airflow_home=folder / "home",
        airflow_dsn=embedded_cluster.dsn(name),
    )
    secrets.make(airflow)
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("APPLIANCE_", "AIRFLOW"))}
    log = folder / "stage.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.dags.stage"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=config.environment(airflow, ours),
        )
    stage = Stage(airflow, log, process)
    try:
        assert stage.answer() == {"ready": True}
        yield stage
    finally:
        process.kill()
        process.communicate()
        embedded_cluster.drop(name)
