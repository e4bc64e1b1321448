"""The way to the database: one engine a process, and the transaction that its callers own."""

from __future__ import annotations

import json
import math
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from typing import Any, cast

import psycopg2
import psycopg2.extensions
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from appliance.errors import Conflict, SettingError, StoreAway
from appliance.store import known

__all__ = ["Connection", "Engine", "connect", "cursor", "ping", "storable", "to_json", "transaction", "unlock"]

# Longer than a part of 100,000 rows takes on a small box, shorter than anybody waits for an answer.
STATEMENT_TIMEOUT = "120s"
# A lock that is not had by then belongs to work that will not end soon; the caller tries again later.
LOCK_TIMEOUT = "10s"
# A process that hangs in mid-transaction must not hold a part or a partition for ever.
IDLE_TIMEOUT = "300s"
POOL_WAIT_SECONDS = 10
# A connection that rested for less need not answer before it is used.
_FRESH_SECONDS = 1.0
_LEFT = "appliance_left"

# SQLSTATE classes that say "not now": connection lost, server shutting down or starting, no room or no slots left.
_AWAY = ("08", "57P", "53")
_NO_ROOM = "53100"
# A statement that ran into its time limit: the database is there, and too busy to be of use.
_TOO_SLOW = "57014"
# A lock that was not had in time, a deadlock, two that changed the same.
_HELD = ("55P03", "40P01", "40001")


def connect(dsn: str, application: str = "appliance", pool_size: int = 5) -> Engine:
    """An engine for ``postgresql://user@host/name`` (a unix socket: ``postgresql://user@/name?host=/folder``).

    Nothing is connected yet. Sessions speak UTC and have time limits. SettingError where the DSN cannot be read.
    """
    url = _url(dsn)
    given = str(url.query.get("options", ""))
    options = (
        f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={LOCK_TIMEOUT} "
        # Compiling a query takes longer than any of ours.
        f"-c idle_in_transaction_session_timeout={IDLE_TIMEOUT} -c jit=off {given}"
    )
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_WAIT_SECONDS,
        json_serializer=to_json,
        connect_args={
            "application_name": application,
            "connect_timeout": 5,
            "options": options.strip(),
            # A cable that was pulled is noticed within half a minute, not after the system's two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )
    event.listen(engine, "connect", lambda *_: known.forget(engine))
    event.listen(engine, "checkin", _left)
    event.listen(engine, "checkout", lambda connection, record, _: _see_alive(engine, connection, record))
    return engine


def _left(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info[_LEFT] = time.monotonic()


def _see_alive(engine: Engine, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """Have the pool connect anew where a connection broke while nobody used it.

    One that just worked is asked only where the server said something meanwhile: good-bye, for instance.
    """
    rested = time.monotonic() - record.info.get(_LEFT, math.inf)
    try:
        if rested >= _FRESH_SECONDS or _is_told(cast(psycopg2.extensions.connection, connection)):
            engine.dialect.do_ping(connection)
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def _is_told(connection: psycopg2.extensions.connection) -> bool:
    """Whether something came that was not read."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back on any error.

    StoreAway when the database cannot be reached, at the start or in the middle, Conflict when others held what it
    needed for too long. Should the connection break during
    the commit itself, nobody can know whether the rows are durable: they may be, although the error says otherwise.
    A caller that repeats must therefore bring a key by which a repetition is recognised.
    """
    try:
        connection = engine.connect()
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise _translated(error) from error
    try:
        known.begin(connection)
        yield connection
        connection.commit()
        known.committed(connection)
    except BaseException as error:
        known.forget(engine)
        # The connection may be beyond rolling back; the server does it then, and the first error is the one to tell.
        with suppress(SQLAlchemyError, psycopg2.Error):
            connection.rollback()
        if isinstance(error, (SQLAlchemyError, psycopg2.Error)):
            raise _translated(error) from error
        raise
    finally:
        with suppress(SQLAlchemyError, psycopg2.Error):
            connection.close()


@contextmanager
def cursor(connection: Connection) -> Iterator[psycopg2.extensions.cursor]:
    """The driver's own cursor, in the transaction of ``connection``.

    For the few statements of every prediction: SQLAlchemy takes longer to put one together than PostgreSQL to do it. Errors
    are those of the driver; :func:`transaction` translates them alike.
    """
    if not connection.in_transaction():
        connection.begin()
    made = cast(psycopg2.extensions.cursor, connection.connection.cursor())
    try:
        yield made
    finally:
        made.close()


def unlock(connection: Connection, lock: int) -> None:
    """Let go of an advisory lock of this session, whatever state it is in."""
    try:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})
        connection.commit()
    except Exception:
        # A session that cannot be asked must not come back into the pool with the lock.
        with suppress(Exception):
            connection.invalidate()


def ping(engine: Engine) -> None:
    """StoreAway where the database does not answer."""
    with transaction(engine) as connection:
        connection.execute(text("SELECT 1"))


def to_json(value: Any) -> str:
    """JSON that PostgreSQL takes as jsonb: no NaN, no infinity, no NUL, no lone surrogate."""
    return json.dumps(_storable(value), allow_nan=False, separators=(",", ":"))


def storable(value: str) -> str:
    """A text that PostgreSQL takes; what it refuses (NUL, lone surrogates of undecodable names) is written out."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {storable(str(k)): _storable(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_storable(v) for v in value]
        case datetime() | date():
            return value.isoformat()
    return value


def _url(dsn: str) -> URL:
    try:
        url = make_url(dsn)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingError(
            "The DSN is no PostgreSQL address.",
            "Write it as postgresql://user:password@host:5432/name, or postgresql://user@/name?host=/folder/of/socket.",
        )
    # Without a driver's name SQLAlchemy takes another one than ours.
    return url.set(drivername="postgresql+psycopg2")


def _translated(error: SQLAlchemyError | psycopg2.Error) -> Exception:
    """StoreAway for "the database is away", Conflict for "somebody else holds it"; the same error for all else."""
    way_out = "Nothing was stored; try again."
    if isinstance(error, PoolTimeout):
        return StoreAway("All connections to PostgreSQL are in use.", way_out)
    cause = error.orig if isinstance(error, DBAPIError) else error
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if isinstance(cause, psycopg2.InterfaceError):
        lost = True
    elif isinstance(cause, psycopg2.OperationalError):
        # Errors of the client library (no server, no route) come without a code.
        lost = lost or cause.pgcode is None or cause.pgcode.startswith(_AWAY)
        if cause.pgcode == _TOO_SLOW:
            return StoreAway("PostgreSQL took too long.", way_out)
        if cause.pgcode == _NO_ROOM:
            return StoreAway("The disk of PostgreSQL is full.", "Nothing was stored. Free some space; it goes on then.")
        if cause.pgcode in _HELD:
            return Conflict("Somebody else holds what this needs.", way_out)
    if not lost:
        return error
    reason = " ".join(str(cause).split()).removesuffix(".")
    return StoreAway(f"PostgreSQL cannot be reached ({reason or 'connection lost'}).", way_out)
