"""Airflow's own database, as far as the box looks into it: is it there, what does it hold, whose scheduler runs.

Its tables belong to Airflow, which alone makes and changes them; what is read here is checked by the tests against the
version that is locked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from appliance.errors import SettingError, StoreAway
from appliance.store import engine as engines

_DUPLICATE = "42P04"
_NOT_ALLOWED = "42501"
# There on every server unless an administrator removed it.
_MAINTENANCE = "postgres"
_REVISIONS = ("alembic_version", "alembic_version_fab")


@dataclass(frozen=True, slots=True)
class Broken:
    """A file of DAGs that could not be read."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """What Airflow's database holds: revisions of its tables, its users' names, the DAGs with the hash of each."""

    revisions: dict[str, str]
    users: tuple[str, ...] = ()
    dags: tuple[tuple[str, str], ...] = ()
    broken: tuple[Broken, ...] = ()

    @property
    def ready(self) -> bool:
        return len(self.revisions) == len(_REVISIONS)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ensure(dsn: str, beside: str | None = None) -> bool:
    """Make the database of ``dsn`` where it is missing; whether it was.

    ``beside`` is a database of the same server that is known to be there. SettingError, with the statement for an
    administrator, where the role may not make one; StoreAway where the server cannot be reached.
    """
    target = engines.connect(dsn, "appliance-airflow", pool_size=1)
    try:
        engines.ping(target)
        return False
    except StoreAway as away:
        url = make_url(beside or dsn)
        maintenance = url if beside else url.set(database=_MAINTENANCE)
        server = engines.connect(maintenance.render_as_string(hide_password=False), "appliance-airflow", pool_size=1)
        try:
            engines.ping(server)
        except StoreAway:
            raise away from None
        try:
            if not _create(server, str(target.url.database)):
                raise away from None
        finally:
            server.dispose()
        engines.ping(target)
        return True
    finally:
        target.dispose()


def held(conn: Connection) -> Held:
    """What is in it; nothing where Airflow's tables are not there."""
    revisions = {}
    for table in _REVISIONS:
        if conn.execute(text("SELECT to_regclass(:table)"), {"table": table}).scalar() is not None:
            revisions[table] = ",".join(sorted(conn.scalars(text(f"SELECT version_num FROM {table}"))))  # noqa: S608
    if not all(revisions.get(table) for table in _REVISIONS):
        return Held(revisions)
    return Held(
        revisions,
        tuple(conn.scalars(text("SELECT username FROM ab_user ORDER BY username"))),
        tuple((row[0], row[1]) for row in conn.execute(text(_DAGS))),
        tuple(_broken(row[0], row[1]) for row in conn.execute(text(_BROKEN))),
    )


def end_schedulers(conn: Connection) -> None:
    """Have Airflow take up at once what a killed scheduler left, and not when its heartbeat has grown old.

    For the caller that knows that no other scheduler of this database runs.
    """
    conn.execute(
        text(
            "UPDATE job SET state = 'failed', end_date = clock_timestamp()"
            " WHERE job_type = 'SchedulerJob' AND state = 'running'"
        )
    )


_DAGS = """
    SELECT DISTINCT ON (d.dag_id) d.dag_id, s.dag_hash
    FROM dag d JOIN serialized_dag s ON s.dag_id = d.dag_id
    WHERE NOT d.is_stale
    ORDER BY d.dag_id, s.created_at DESC
"""
_BROKEN = "SELECT filename, stacktrace FROM import_error ORDER BY filename"


def _broken(file: str | None, trace: str | None) -> Broken:
    lines = (trace or "").strip().splitlines() or ["no reason was given"]
    return Broken(PurePath(file or "?").name, lines[-1].strip())


def _create(server: Engine, name: str) -> bool:
    """Make the database; False where it is there, so that something else is wrong with it."""
    statement = f"CREATE DATABASE {_quoted(name)} TEMPLATE template0 ENCODING 'UTF8'"
    with engines.transaction(server) as connection:
        if connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar():
            return False
        role = str(connection.execute(text("SELECT current_user")).scalar())
    try:
        # A database is not made within a transaction.
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement.replace(":", "\\:")))
    except DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        if code == _DUPLICATE:
            return True
        may = "may not make" if code == _NOT_ALLOWED else "could not make"
        raise SettingError(
            f"Airflow's database {name!r} is missing, and the role {role!r} {may} it.",
            f"Have an administrator of the server run: {statement} OWNER {_quoted(role)};",
        ) from None
    return True


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
