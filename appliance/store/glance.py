"""What a look every minute asks of the database, in one connection and without SQLAlchemy, which takes longer to load
than to answer.

Here alone a function commits: each look is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from appliance.errors import ApplianceError, SettingError, StoreAway
from appliance.store.pauses import PART_DUE

_INTERRUPTED = "SELECT FROM arrival WHERE cleared_at IS NULL"
_PART_DUE = f"SELECT FROM part WHERE {PART_DUE}"
# Beyond two hours it was put off by a clock that ran ahead (appliance.store.notices.AHEAD).
_NOTICE_DUE = (
    "SELECT FROM notice WHERE settled_at IS NULL"
    " AND (due_at <= clock_timestamp() OR due_at > clock_timestamp() + interval '2 hours')"
)
_SKIPPED = (
    "INSERT INTO run (kind, started_at, finished_at, outcome, why)"
    " SELECT %s, now, now, 'skipped', %s FROM clock_timestamp() AS now"
)


@dataclass(frozen=True, slots=True)
class Look:
    """A connection, for the time of one look."""

    _cursor: Any

    def interrupted(self) -> bool:
        """Whether a file was claimed whose original was not let go of yet: a pass has to finish it."""
        return self._any(_INTERRUPTED)

    def part_due(self) -> bool:
        """Whether good rows wait, and it is their turn."""
        return self._any(_PART_DUE)

    def notice_due(self) -> bool:
        """Whether anybody is to be told anything now."""
        return self._any(_NOTICE_DUE)

    def skipped(self, kind: Literal["ingest", "predict"], why: str) -> None:
        """Record a run that found nothing to do."""
        self._cursor.execute(_SKIPPED, (kind, why))

    def _any(self, query: str) -> bool:
        self._cursor.execute(f"SELECT EXISTS ({query})")
        found: bool = self._cursor.fetchone()[0]
        return found


@contextmanager
def look(dsn: str) -> Iterator[Look]:
    """One look, committed at its end. StoreAway where the database does not answer."""
    try:
        connection = psycopg2.connect(**_parameters(dsn))
    except psycopg2.OperationalError as error:
        raise _away(error) from error
    try:
        with connection, connection.cursor() as cursor:
            yield Look(cursor)
    except psycopg2.errors.UndefinedTable:
        raise ApplianceError(
            "The database does not have this version's tables.", "Run `appliance db migrate`."
        ) from None
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise _away(error) from error
    finally:
        connection.close()


def _parameters(dsn: str) -> dict[str, Any]:
    """What libpq is told: the same address and limits as those of :mod:`appliance.store.engine`, with less patience."""
    scheme, found, rest = dsn.partition("://")
    try:
        # SQLAlchemy may be told a driver's name, which libpq does not know.
        given = psycopg2.extensions.parse_dsn(f"{scheme.partition('+')[0]}{found}{rest}")
    except psycopg2.ProgrammingError:
        # The text may hold a password, so it is not repeated.
        raise SettingError("The DSN is no PostgreSQL address.", "Mend the setting dsn.") from None
    options = f"-c timezone=UTC -c statement_timeout=20s -c lock_timeout=5s -c jit=off {given.get('options', '')}"
    return given | {"application_name": "appliance-glance", "connect_timeout": 5, "options": options.strip()}


def _away(error: psycopg2.Error) -> StoreAway:
    reason = " ".join(str(error).split()).removesuffix(".")
    return StoreAway(f"PostgreSQL cannot be reached ({reason or 'connection lost'}).", "Nothing was stored; try again.")
