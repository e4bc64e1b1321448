"""The schema's versions. They only expand: what the release before needs stays until the one after."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from appliance.store import engine as engines
from appliance.store.revision import head, version

# Two services that start together migrate one after the other. Any number will do; it is ours for ever.
_LOCK = 7_165_001


def migrate(target: Engine | str) -> str:
    """Bring the database (an engine or a DSN) to the newest version, all in one transaction; gives that version.

    Safe to call at each start, from several processes at once. StoreAway when the database is away.
    """
    engine = engines.connect(target, "appliance-migrate", 1) if isinstance(target, str) else target
    try:
        with engines.transaction(engine) as connection:
            # A migration may take long, and waiting for another's too.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            if version(connection) != head():
                # A lock that is not had soon would make every query queue behind it; the next start tries again.
                connection.execute(text(f"SET LOCAL lock_timeout = '{engines.LOCK_TIMEOUT}'"))
                command.upgrade(_config(connection), "head")
    finally:
        if engine is not target:
            engine.dispose()
    return head()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
