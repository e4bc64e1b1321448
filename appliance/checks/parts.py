"""Parts of files that were given up."""

from __future__ import annotations

from appliance.checks.base import Context, Fault
from appliance.store import queries


def check(context: Context) -> list[Fault]:
    with context.transaction() as connection:
        failed = int(queries.backlog(connection)["parts_failed"])
    if not failed:
        return []
    said = "1 part of a file was" if failed == 1 else f"{failed} parts of files were"
    way_out = "`GET /parts?state=failed` tells the reasons; mend them, and let the parts wait again: `appliance predict --retry`."
    return [Fault("failed_parts", "warning", f"{said} given up; their rows have no prediction.", way_out)]
