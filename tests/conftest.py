"""Databases for tests: real servers, one of each kind a session, and a fresh migrated database a test.

``engine`` and ``dsn`` are what most tests want. Tests of the store run on every PostgreSQL that is supported and at
hand (``tests/unit/store/conftest.py``), all others on the embedded one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from xdist.remote import Producer

from appliance.store import embedded
from appliance.store import engine as engines
from appliance.store.migrations import migrate
from tests import turns

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
# Tests kill servers, never the power: what they check does not hang on these.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "60",
}
# A disk in memory, where there is one with room: many small databases come and go.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30
PREFIX = "appliance-tests-"
TEMPLATE = "migrated"

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> turns.Turns | None:
    return turns.Turns(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turns.rank(item.nodeid))


class Cluster:
    """A server for the session, that makes databases."""

    def __init__(self, server: embedded.Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self._admin = psycopg2.connect(self.dsn("postgres"))
        self._admin.autocommit = True
        self.sql(f'CREATE DATABASE "{TEMPLATE}"')
        migrate(self.dsn(TEMPLATE))

    def dsn(self, database: str) -> str:
        return make_url(self.server.dsn).set(database=database).render_as_string(hide_password=False)

    def sql(self, statement: str) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(statement)

    def create(self, template: str = TEMPLATE) -> str:
        """The name of a new database."""
        name = f"test_{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop(self, name: str) -> None:
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        self._admin.close()


def serve(kind: str, folder: Path) -> embedded.Server:
    """Start a server of that kind (``embedded`` or ``debian``) in an own folder; skips where it is not installed."""
    if kind == "embedded":
        return embedded.start(folder, options=FAST)
    if not (DEBIAN_BINARIES / "postgres").exists():
        pytest.skip(f"Debian's PostgreSQL 15 is not installed ({DEBIAN_BINARIES})")
    return embedded.start(folder, binaries=DEBIAN_BINARIES, user="postgres", options=FAST)


def _cluster(kind: str) -> Iterator[Cluster]:
    folder = _folder()
    try:
        server = serve(kind, folder)
        try:
            cluster = Cluster(server)
            yield cluster
            cluster.close()
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    root = MEMORY if roomy and os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in root.glob(f"{PREFIX}*"):
        # Of a session that was killed. A young one may be on its way to its server.
        if time.time() - left.stat().st_mtime > 3600 and embedded.running(left) is None:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))


@pytest.fixture(scope="session")
def embedded_cluster() -> Iterator[Cluster]:
    yield from _cluster("embedded")


@pytest.fixture(scope="session")
def debian_cluster() -> Iterator[Cluster]:
    yield from _cluster("debian")


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder for a server of the test's own.

    As root we run servers as another user, who cannot stay in ``tmp_path``: each session of pytest that starts on the
    machine closes the folder above to all others again.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def open_path() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The server that this test's database is on."""
    found: Cluster = request.getfixturevalue("embedded_cluster")
    return found


@pytest.fixture
def dsn(cluster: Cluster) -> Iterator[str]:
    """The DSN of a fresh migrated database."""
    name = cluster.create()
    yield cluster.dsn(name)
    cluster.drop(name)


@pytest.fixture
def engine(dsn: str) -> Iterator[Engine]:
    """An engine on a fresh migrated database."""
    engine = engines.connect(dsn, "tests")
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """An open transaction on a fresh migrated database, committed at the end; others see nothing of it until then."""
    with engines.transaction(engine) as connection:
        yield connection
