"""Whether the database has the tables that this version works with."""

from __future__ import annotations

from appliance.checks.base import Context, Fault
from appliance.store.revision import is_current


def check(context: Context) -> list[Fault]:
    if is_current(context.engine):
        return []
    sentence = "The database does not have this version's tables."
    return [Fault("migrations", "fault", sentence, "Run `appliance db migrate`.")]
