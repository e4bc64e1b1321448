"""Boxes that can be had again and again in the same state: a folder to copy, and a database to copy."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from appliance.store import engine as engines
from appliance.store.engine import Connection
from tests.conftest import TEMPLATE, Cluster
from tests.faults.scenes import SETTINGS

_QUIET_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Start:
    """A state from which runs begin."""

    folder: Path
    database: str = TEMPLATE


@dataclass(frozen=True, slots=True)
class Box:
    folder: Path
    dsn: str

    @property
    def settings(self) -> Mapping[str, Any]:
        return {**SETTINGS, "data_dir": str(self.folder), "dsn": self.dsn}

    @property
    def raw(self) -> Path:
        return self.folder / "raw_data"

    @property
    def bad(self) -> Path:
        return self.folder / "bad_data"

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """A connection for the eyes of the tests, gone afterwards: databases in use cannot be copied."""
        engine = engines.connect(self.dsn, "looking")
        try:
            with engines.transaction(engine) as connection:
                yield connection
        finally:
            engine.dispose()

    def quiet(self) -> None:
        """Wait until PostgreSQL has noticed that its clients are dead and rolled back what they had begun."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        until = time.monotonic() + _QUIET_SECONDS
        try:
            with connection.cursor() as cursor:
                while True:
                    cursor.execute(
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    )
                    if cursor.fetchone() == (0,):
                        return
                    assert time.monotonic() < until, "PostgreSQL keeps the sessions of dead clients"
                    time.sleep(0.002)
        finally:
            connection.close()


class Boxes:
    """Makes boxes on one server, below one folder."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._numbers = itertools.count(1)

    @contextmanager
    def fresh(self, start: Start) -> Iterator[Box]:
        """A box in that state, removed afterwards."""
        folder = self._folder / f"box-{next(self._numbers)}"
        database = self._cluster.create(start.database)
        try:
            shutil.copytree(start.folder, folder, symlinks=True)
            yield Box(folder, self._cluster.dsn(database))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._cluster.drop(database)

    def keep(self, start: Start) -> tuple[Start, Box]:
        """A box in that state that stays, and the start that it is for others once it was prepared."""
        folder = self._folder / f"start-{next(self._numbers)}"
        shutil.copytree(start.folder, folder, symlinks=True)
        database = self._cluster.create(start.database)
        return Start(folder, database), Box(folder, self._cluster.dsn(database))
