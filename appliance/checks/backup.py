"""A box without a backup, one that is old, damaged or cannot be restored, and a restore that was broken off."""

from __future__ import annotations

from datetime import timedelta

from appliance import backup_state
from appliance.checks.base import Context, Fault, long
from appliance.errors import SettingError
from appliance.store import backups, runs
from appliance.store.backups import Kept

# Made and drilled every night; one that was missed is no reason yet.
_LONG = timedelta(days=2)


def check(context: Context) -> list[Fault]:
    found = _broken_off(context)
    if context.settings.backup_to is None:
        if context.settings.schedule == "airflow":
            said = "Nothing is backed up: no place for backups is set."
            found.append(Fault("backup", "warning", said, "Set backup_to; docs/backup.md shows how."))
        return found
    with context.transaction() as connection:
        there = backups.there(connection, backup_state.place_name(context.settings))
        failed = runs.failures(connection, "drill", "", 1)
        first = runs.first(connection)
    good = next((kept for kept in there if kept.damage is None), None)
    since = good.made_at if good is not None else first
    if since is not None and context.now - since > _LONG:
        made = f"The newest good backup is {long(context.now - since)} old" if good else "There is no good backup"
        way_out = "`appliance backup` makes one, and says what is in its way."
        found.append(Fault("backup_age", "warning", f"{made}; one is due every night.", way_out))
    if there and there[0].damage is not None:
        said = f"The newest backup is damaged: {there[0].damage}"
        found.append(Fault("backup_damaged", "fault", said, "Check the disk it lies on, and make another."))
    if failed:
        said = f"The restore drill failed: {failed[0]['why']}"
        found.append(
            Fault("backup_drill", "fault", said, "`appliance backup drill` tries again; a good one ends this.")
        )
    elif good is not None and (idle := _undrilled(context, there)) is not None:
        said = f"No backup was restored for a trial for {long(idle)}."
        found.append(Fault("backup_drill", "warning", said, "`appliance backup drill` does it by hand."))
    if good is not None and not good.secrets:
        said = "Backups are made without secrets: no key of the owner is set."
        found.append(Fault("backup_secrets", "warning", said, "Set backup_recipient; docs/backup.md shows how."))
    return found


def _broken_off(context: Context) -> list[Fault]:
    try:
        name = backup_state.pending(context.settings)
    except SettingError:
        return []  # of who may not look there, nobody expects to know
    if not name:
        return []
    said = f"The restore of {name} was broken off in its last step."
    return [Fault("restore", "fault", said, "Stop the services and call `appliance restore`: it does the rest.")]


def _undrilled(context: Context, there: list[Kept]) -> timedelta | None:
    """For how long there has been no drill, where that is too long."""
    since = max((kept.drilled_at for kept in there if kept.drilled_at is not None), default=None)
    idle = context.now - (since or min(kept.made_at for kept in there))
    return idle if idle > _LONG else None
