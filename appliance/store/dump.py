# ruff: noqa: S608  (statements are put together from names that the database quoted; values are bound)
"""A whole database as one file, with a count and a sample of each table, all of the same moment; and back again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from appliance.errors import BackupTrouble
from appliance.store import engine as engines
from appliance.store import pgtools
from appliance.store.revision import version

# Of larger tables about so many rows are compared, those of smaller ones all; which, their keys decide.
SAMPLE = 2_000
# The weakest: most of a dump is float32 that shrinks little however long one tries, and a box has two cores.
_COMPRESS = "--compress=1"
_LOCK_WAIT = "--lock-wait-timeout=60s"

_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name,
        (SELECT string_agg(format('whole.%I', a.attname), ', ' ORDER BY a.attnum) FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey::int2[])
            WHERE i.indrelid = c.oid AND i.indisprimary) AS key
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> 'information_schema'
        AND NOT starts_with(n.nspname, 'pg_') ORDER BY 1
"""
# The same text for the same row, whatever the server was told otherwise.
_PLAIN = (
    "SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex';"
    " SET LOCAL extra_float_digits = 1; SET LOCAL timezone = 'UTC'; SET LOCAL statement_timeout = 0;"
    " SET LOCAL idle_in_transaction_session_timeout = 0"
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Of a table: how many rows, of how many keys each is in the sample, how many are, and what they are, hashed."""

    rows: int
    every: int
    sampled: int
    digest: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A database at one moment. ``revision``: the version of its tables."""

    postgres: int
    revision: str
    size: int
    tables: Mapping[str, Rows]


def dump(dsn: str, target: Path) -> Snapshot:
    """Write the database into a new file; what is in it. BackupTrouble, StoreAway."""
    engine = engines.connect(dsn, "appliance-backup", 1)
    try:
        with engines.transaction(engine) as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            connection.execute(text(_PLAIN))
            # What is dumped is what is counted here; and nothing that was counted can be dropped in between.
            moment = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            seen = Snapshot(major(connection), version(connection), size(connection), dict(look(connection)))
            command = pgtools.program("pg_dump", seen.postgres)
            pgtools.run(
                command,
                dsn,
                [f"--snapshot={moment}", "--format=custom", _COMPRESS, _LOCK_WAIT, f"--file={target}"],
            )
    finally:
        engine.dispose()
    return seen


def fill(dsn: str, source: IO[bytes], *, role: str = "") -> None:
    """Bring a dump into an empty database, all of it or nothing; what is made belongs to who logs in, or to ``role``."""
    engine = engines.connect(dsn, "appliance-restore", 1)
    try:
        with engines.transaction(engine) as connection:
            version = major(connection)
    finally:
        engine.dispose()
    words = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-acl"]
    pgtools.run(
        pgtools.program("pg_restore", version), dsn, [*words, *([f"--role={role}"] if role else [])], given=source
    )


def differences(dsn: str, wanted: Mapping[str, Rows]) -> list[str]:
    """In which tables a database is not what was written down of it, a sentence each."""
    engine = engines.connect(dsn, "appliance-restore", 1)
    try:
        with engines.transaction(engine) as connection:
            connection.execute(text(_PLAIN))
            found = dict(look(connection, wanted))
    finally:
        engine.dispose()
    lines = [f"Table {name} is missing." for name in wanted.keys() - found.keys()]
    lines += [f"Table {name} is there and was not in the backup." for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        is_, was = found[name], wanted[name]
        if is_.rows != was.rows:
            lines.append(f"Table {name} has {is_.rows:,} rows, and had {was.rows:,}.")
        elif is_ != was:
            lines.append(f"Rows of table {name} are others than they were.")
    return sorted(lines)


def look(connection: Connection, like: Mapping[str, Rows] | None = None) -> Iterator[tuple[str, Rows]]:
    """Every table with its rows; the sample is taken as ``like`` has it."""
    for name, key in [tuple(row) for row in connection.execute(text(_TABLES))]:
        rows = int(connection.execute(as_it_stands(f"SELECT count(*) FROM {name}")).scalar_one())
        every = like[name].every if like and name in like else max(1, rows // SAMPLE)
        which = f"ROW({key})::text" if key else "whole::text"
        chosen = f"WHERE mod(('x' || left(md5({which}), 7))::bit(28)::int, {every}) = 0" if every > 1 else ""
        query = (
            "SELECT count(*), md5(coalesce(string_agg(line, '' ORDER BY line), ''))"
            f" FROM (SELECT md5(whole::text) AS line FROM {name} AS whole {chosen}) AS sample"
        )
        sampled, digest = connection.execute(as_it_stands(query)).one()
        yield name, Rows(rows, every, int(sampled), str(digest))


def major(connection: Connection) -> int:
    return int(connection.execute(text("SELECT current_setting('server_version_num')::int / 10000")).scalar_one())


def size(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def size_of(dsn: str) -> int:
    engine = engines.connect(dsn, "appliance-backup", 1)
    try:
        with engines.transaction(engine) as connection:
            return size(connection)
    finally:
        engine.dispose()


@contextmanager
def throwaway(dsn: str, name: str, *, like: str = "") -> Iterator[str]:
    """An empty database beside that of ``dsn``, gone in the end; what a killed one left goes first."""
    make(dsn, name, like=like)
    try:
        yield beside(dsn, name)
    finally:
        drop(dsn, name)


def beside(dsn: str, name: str) -> str:
    """The same server, another database."""
    return make_url(dsn).set(database=name).render_as_string(hide_password=False)


def make(dsn: str, name: str, *, like: str = "", owner: str = "") -> None:
    """Make an empty database by the right of whoever ``dsn`` logs in, in the language of the one ``like`` or that of
    ``dsn``; one of that name goes first."""
    drop(dsn, name)
    with _outside(dsn) as connection:
        found = connection.execute(
            text(
                "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate, datctype FROM pg_database"
                " WHERE datname = coalesce((SELECT datname FROM pg_database WHERE datname = :like), current_database())"
            ),
            {"like": like},
        ).one()
        belongs = f" OWNER {quoted(owner)}" if owner else ""
        statement = (
            f"CREATE DATABASE {quoted(name)}{belongs} TEMPLATE template0 ENCODING {literal(found.encoding)}"
            f" LC_COLLATE {literal(found.datcollate)} LC_CTYPE {literal(found.datctype)}"
        )
        try:
            connection.execute(as_it_stands(statement))
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != "42501":
                raise
            role = str(connection.execute(text("SELECT session_user")).scalar())
            raise BackupTrouble(
                "tools",
                f"The role {role!r} may not make databases, which a restore and its drill need.",
                f"Have an administrator of the server run: ALTER ROLE {quoted(role)} CREATEDB;",
            ) from None


def drop(dsn: str, name: str) -> None:
    with _outside(dsn) as connection:
        connection.execute(as_it_stands(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)"))


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def literal(value: str) -> str:
    return "'{}'".format(value.replace("'", "''"))


def as_it_stands(statement: str) -> TextClause:
    """What looks like a place for a value is none."""
    return text(statement.replace(":", r"\:"))


@contextmanager
def _outside(dsn: str) -> Iterator[Connection]:
    """A connection without a transaction: databases are made and dropped in none."""
    engine = engines.connect(dsn, "appliance-restore", 1)
    try:
        engines.ping(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))
            yield connection
    finally:
        engine.dispose()
