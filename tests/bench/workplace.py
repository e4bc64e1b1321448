"""Where the bench works: a temporary folder with a durable database, a trained model, and a fresh box for each run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

from appliance.client import Client
from appliance.errors import ApiAway
from appliance.store import embedded, principals
from appliance.store import engine as engines
from appliance.store.migrations import migrate

PROFILE = "milling"
MACHINE = "mill-1"
FILE = "rows.csv"
TRAINING = "training.csv"
TRAINING_ROWS = 20_000
TRAINING_SEED = 2020
START_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A box before its one run: the file lies in its drop folder, its database is empty."""

    data: Path
    dsn: str
    environment: Mapping[str, str] = field(repr=False)


@dataclass
class Workplace:
    folder: Path
    shelf: Path  # a data folder with an active model and the keys that it was signed with
    server: embedded.Server
    _boxes: int = 0

    @property
    def source(self) -> Path:
        return self.folder / FILE

    @property
    def database_pid(self) -> int:
        assert self.server.pid is not None
        return self.server.pid

    @contextmanager
    def box(self, **settings: str) -> Iterator[Place]:
        """A new box; nothing of it is left behind the block. The disk is quiet when it begins."""
        self._boxes += 1
        name = f"bench_{self._boxes}"
        data = self.folder / name
        dsn = make_url(self.server.dsn).set(database=name).render_as_string(hide_password=False)
        try:
            for part in ("models", "keys"):
                shutil.copytree(self.shelf / part, data / part)
            drop = data / "raw_data" / PROFILE / MACHINE
            drop.mkdir(parents=True)
            shutil.copy(self.source, drop / FILE)
            self._sql(f"CREATE DATABASE {name}")
            migrate(dsn)
            self._sql("CHECKPOINT")
            os.sync()
            yield Place(data, dsn, environment(data, dsn, **settings))
        finally:
            self._sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            shutil.rmtree(data, ignore_errors=True)

    def _sql(self, statement: str) -> None:
        connection = psycopg2.connect(self.server.dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def open_workplace(rows: int, shelf: Path | None, folds: int = 2) -> Iterator[Workplace]:
    """``shelf``: a data folder whose active model is taken; without it one is trained by the real command."""
    with tempfile.TemporaryDirectory(prefix="appliance-bench-") as temporary:
        folder = Path(temporary)
        simulate(rows, 0, folder / FILE)
        if shelf is None:
            shelf = folder / "shelf"
            training = folder / TRAINING
            simulate(TRAINING_ROWS, TRAINING_SEED, training)
            # Folds are for the card alone: the model is the same.
            words = ["--profile", PROFILE, "--data", str(training), "--folds", str(folds), "--activate"]
            run(["-m", "model.train", *words], environment(shelf, ""))
        server = embedded.start(folder / "db")
        try:
            yield Workplace(folder, shelf, server)
        finally:
            server.stop()


@contextmanager
def api(place: Place, port: int | None = None) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The API of a box in a process of its own, on a unix socket or on a port of loopback: its process id, and the
    environment with which it is reached."""
    engine = engines.connect(place.dsn)
    with engines.transaction(engine) as connection:
        token = principals.create_token(connection, "bench", "operator", "scheduled", lifetime=timedelta(hours=1))
    engine.dispose()
    socket = place.data / "api.sock"
    where = {"APPLIANCE_API_SOCKET": str(socket)} if port is None else {"APPLIANCE_API_PORT": str(port)}
    reached = {**place.environment, **where, "APPLIANCE_API_TOKEN": token}
    process = subprocess.Popen([sys.executable, "-m", "appliance", "api"], env=reached, cwd=ROOT)
    try:
        deadline = time.monotonic() + START_SECONDS
        with Client(socket if port is None else f"http://127.0.0.1:{port}") as client:
            while True:
                with suppress(ApiAway):
                    client.health()
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the API did not start")
                time.sleep(0.05)
        yield process.pid, reached
    finally:
        process.terminate()
        process.wait(30)


def environment(data: Path, dsn: str, **settings: str) -> dict[str, str]:
    """That of a child: no settings but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    # A look at a file twice, some seconds apart, is patience and not work.
    given = {"data_dir": str(data), "dsn": dsn, "settle_seconds": "0", "log_level": "warning", **settings}
    # As the units on a box have it.
    clean["MALLOC_ARENA_MAX"] = "2"
    return clean | {f"APPLIANCE_{name.upper()}": value for name, value in given.items() if value}


def simulate(rows: int, seed: int, out: Path) -> None:
    words = ["--plant", PROFILE, "--rows", str(rows), "--seed", str(seed), "--out", str(out)]
    run(["-m", "model.simulate", *words], os.environ)


def run(words: Sequence[str], env: Mapping[str, str]) -> str:
    """What a Python child prints; what it complains of is shown."""
    done = subprocess.run(
        [sys.executable, *words], env=dict(env), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(words)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def run_json(words: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(run(words, env).splitlines()[-1])
    return found
