"""Databases for tests: real servers, one of each kind a session, and a fresh migrated database a test.

``engine`` and ``dsn`` are what most tests want. Tests of the store run on every PostgreSQL that is supported and at
hand (``tests/unit/store/conftest.py``), all others on the embedded one.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url

from appliance.store import embedded
from appliance.store import engine as engines
from appliance.store.migrations import migrate

DEBIAN_BINARIES = Path("/usr/lib/postgresql/15/bin")
# Tests kill servers, never the power: what they check does not hang on these.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "60"}
TEMPLATE = "migrated"


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
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
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
    folder = Path(tempfile.mkdtemp(prefix=f"appliance-{kind}-"))
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


@pytest.fixture(scope="session")
def embedded_cluster() -> Iterator[Cluster]:
    yield from _cluster("embedded")


@pytest.fixture(scope="session")
def debian_cluster() -> Iterator[Cluster]:
    yield from _cluster("debian")


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
