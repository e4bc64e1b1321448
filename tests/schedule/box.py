"""A whole box whose Airflow keeps the schedule: API, api-server, scheduler and machines, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from appliance import children, durable, ports
from appliance.airflow import config, health, setup
from appliance.settings import Settings
from appliance.store import engine as engines
from tests.api.conftest import Shelf, make_token
from tests.api.conftest import box as box_of

PATIENCE = 180.0


@dataclass
class Scheduled:
    """The box, what runs on it, and short words for what a test does with it."""

    folder: Path
    settings: Settings
    engine: Engine
    airflow: Engine
    token: str
    environment: Mapping[str, str]
    stack: ExitStack
    services: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, dsn: str, airflow_dsn: str, shelf: Shelf, stack: ExitStack) -> Scheduled:
        plain = box_of(folder / "box", dsn, shelf)
        own = {
            "dsn": dsn,
            "schedule": "airflow",
            "airflow_dsn": airflow_dsn,
            "airflow_port": ports.choose(0),
            "api_port": ports.choose(0),
            "settle_seconds": 0.5,
        }
        settings = Settings(**(plain.model_dump(exclude_none=True) | own))
        settings.raw.mkdir()
        engine, airflow = engines.connect(dsn, "tests"), engines.connect(airflow_dsn, "tests")
        stack.callback(engine.dispose)
        stack.callback(airflow.dispose)
        token = make_token(engine, "operator", "scheduled")
        made = cls(folder, settings, engine, airflow, token, _environment(folder, settings, token), stack)
        ready = setup.init(settings, base=made.environment)
        assert (ready.dags, ready.broken) == (["ingest", "maintain", "predict"], [])
        return made

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.folder / f"{name}.log").open("ab"))
        child = children.python(["-m", *words], self.environment, log, children.KILL)
        self.services[name] = self.stack.enter_context(child)
        return self.services[name]

    def start_airflow(self, name: str) -> subprocess.Popen[bytes]:
        return self.start(f"airflow-{name}", "appliance", "airflow", name)

    def until(self, met: Callable[[], Any], seconds: float = PATIENCE, every: float = 0.5) -> Any:
        """Wait for it; whatever of the box ends on the way is told."""
        end = time.monotonic() + seconds
        while not (found := met()):
            for name, process in self.services.items():
                assert process.poll() in (None, 0), f"{name} ended: {self.log(name)[-2000:]}"
            assert time.monotonic() < end, self.logs()
            time.sleep(every)
        return found

    def well(self) -> bool:
        return health.look(config.home_url(self.settings)).well

    def ours(self, query: str) -> Sequence[Any]:
        return _rows(self.engine, query)

    def theirs(self, query: str) -> Sequence[Any]:
        """What Airflow's database says."""
        return _rows(self.airflow, query)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self.services)

    def shown(self) -> str:
        """What ``ps`` shows of everything that runs here."""
        words = []
        for process in psutil.Process().children(recursive=True):
            try:
                words += process.cmdline()
            except psutil.Error:
                continue
        return "\n".join(words)


def _rows(engine: Engine, query: str) -> Sequence[Any]:
    with engines.transaction(engine) as connection:
        return connection.execute(text(query)).all()


def _environment(folder: Path, settings: Settings, token: str) -> dict[str, str]:
    """Settings as a box has them: plain ones in the environment, the token in a folder of secrets."""
    hidden = folder / "secrets"
    hidden.mkdir(mode=0o700)
    durable.write(hidden / "appliance_api_token", token.encode(), 0o600)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "AIRFLOW"))}
    assert settings.airflow_dsn is not None
    return plain | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.require_dsn(),
        "APPLIANCE_AIRFLOW_DSN": settings.airflow_dsn.get_secret_value(),
        "APPLIANCE_SCHEDULE": settings.schedule,
        "APPLIANCE_AIRFLOW_PORT": str(settings.airflow_port),
        "APPLIANCE_API_PORT": str(settings.api_port),
        "APPLIANCE_SETTLE_SECONDS": str(settings.settle_seconds),
        "APPLIANCE_SECRETS_DIR": str(hidden),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
