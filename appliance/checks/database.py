"""Whether the database answers."""

from __future__ import annotations

from appliance.checks.base import Context, Fault
from appliance.errors import StoreAway
from appliance.store import engine as store


def check(context: Context) -> list[Fault]:
    try:
        store.ping(context.engine)
    except StoreAway:
        sentence = "The database does not answer; nothing can be stored."
        return [Fault("database", "fault", sentence, "Start PostgreSQL, and check the setting dsn.")]
    return []
