"""The database's log of changes, where it is copied away: copied no more, or with a gap."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from appliance.checks.base import Context, Fault, long
from appliance.store import standing

# As role postgres of the playbook has it: there from when a part of the log was let go of until the next whole copy.
GAP = Path("/var/spool/pgbackrest-archive/gap")
# A part is due every five minutes.
_LONG = timedelta(minutes=15)
_WAY_OUT = "Is the disk of postgres_archive_to there, and has it room? See the log of PostgreSQL."


def check(context: Context) -> list[Fault]:
    with context.transaction() as connection:
        archived = standing.archiving(connection)
    if archived is None:
        return []
    if GAP.exists():
        said = "The log of changes has a gap: it could not be copied for so long that parts of it were let go of."
        way_out = "`systemctl start postgresql-archive.service` copies the database whole, which ends it."
        return [Fault("archive", "warning", said, f"{_WAY_OUT} {way_out}")]
    if archived.failing and archived.idle > _LONG:
        said = f"The log of changes was not copied for {long(archived.idle)}; it waits on this box."
        return [Fault("archive", "warning", said, _WAY_OUT)]
    return []
