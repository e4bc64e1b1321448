"""Whether the machines still send."""

from __future__ import annotations

from datetime import timedelta

from appliance import bundle
from appliance.checks.base import Context, Fault, long
from appliance.store import queries

_LONG = timedelta(hours=24)


def check(context: Context) -> list[Fault]:
    models = context.settings.models
    found = []
    for profile in bundle.profiles(models):
        with context.transaction() as connection:
            newest = queries.files(connection, profile=profile, limit=1)
            now = queries.clock(connection)
        # A profile that never had a file may be used through the API alone.
        if newest and now - newest[0]["arrived_at"] >= _LONG:
            sentence = f"No file of profile {profile!r} has come for {long(now - newest[0]['arrived_at'])}."
            way_out = "Do the machines run, and does their network reach the drop folder?"
            found.append(Fault("silence", "warning", sentence, way_out))
    return found
