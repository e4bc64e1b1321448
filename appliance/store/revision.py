"""Which version the tables of a database have, and which this code was written for; without the tool that changes them,
which costs a process 13 MiB and a second that it needs once in a release."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from appliance.store import engine as engines

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


def known() -> list[str]:
    """The versions that this code can start from, the newest first."""
    # Each file begins with the version that it leads to.
    return sorted((file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py")), reverse=True)


def head() -> str:
    """The version that this code was written for."""
    return known()[0]


def version(connection: Connection) -> str:
    """The version that a connection sees, '' where it was never migrated."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one() is None:
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def current(engine: Engine) -> str:
    """The version of a database, '' where it was never migrated. StoreAway when it is away."""
    with engines.transaction(engine) as connection:
        return version(connection)


def is_current(engine: Engine) -> bool:
    return current(engine) == head()
