"""A backup comes back: onto the box that made it, or onto a fresh one.

All is brought beside its place first: databases under other names, files in folders aside. Only when all of it is there,
and the databases hold what the manifest says, is a plan written down and everything renamed into its place. Killed before
the plan, nothing has changed; killed after it, the next call of the command does the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import (
    backup,
    backup_files,
    backup_manifest,
    backup_places,
    backup_state,
    durable,
    restore_databases,
    restore_files,
    room,
    units,
)
from appliance.backup_manifest import Read
from appliance.backup_places import InFolder
from appliance.errors import BackupTrouble
from appliance.settings import Settings
from appliance.store import refill, revision

_MIB = 1 << 20
# What runs on a box and has to rest; the proxy and Grafana may go on.
_OURS = "appliance"


@dataclass(slots=True)
class Restored:
    """What came back. ``from_version`` and ``to_version``: of our tables. ``finished``: of a restore that was broken off."""

    name: str = ""
    made_at: str = ""
    signed_by: str = ""
    databases: list[str] = field(default_factory=list)
    rows: int = 0
    from_version: str = ""
    to_version: str = ""
    secrets: bool = False
    files: list[str] = field(default_factory=list)
    dry_run: bool = False
    finished: bool = False
    notes: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        if self.finished:
            return f"The restore of {self.name} that was broken off is finished."
        what = f"{self.name} with {self.rows:,} rows in {' and '.join(self.databases)}"
        if self.dry_run:
            return f"{what} can be restored here: every byte is as it was, and it fits. Nothing was changed."
        return f"{what} is back, and holds what it held when it was made."


def run(
    settings: Settings,
    given: str,
    *,
    dry_run: bool = False,
    identity: Path | None = None,
    with_settings: bool = False,
    signed_by: str = "",
) -> Restored:
    """Restore a backup (a folder, or a name in the place of the settings). BackupTrouble, and nothing changed, where it
    cannot be."""
    with backup.exclusive(settings):
        if not dry_run and (pending := backup_state.plan(settings)):
            _finish(settings, pending)
            return Restored(name=pending["name"], finished=True, notes=_next_steps(settings, secrets=True))
        with _folder(settings, given) as folder:
            read = _examined(folder, signed_by)
            done = _said(settings, read)
            done.dry_run = dry_run
            secrets = _secrets(folder, read, identity, done)
            _demand_version(settings, read)
            _demand_room(settings, read)
            names = _names(settings, read)
            if dry_run:
                with refill.administrator(settings.require_dsn()) as admin:
                    done.notes += [
                        f"Before that, {trouble.message}" for trouble in _in_use(admin, list(names.values()))
                    ]
                return done
            _bring(settings, folder, read, names, done, secrets=secrets, with_settings=with_settings)
    return done


def forget(settings: Settings) -> list[str]:
    """Remove what the restore before left of the time before it; the names of the databases."""
    with backup.exclusive(settings):
        if backup_state.plan(settings):
            raise BackupTrouble("in_use", "A restore was broken off.", "Call `appliance restore` to have it finished.")
        names = [refill.named(dsn) for dsn in backup.databases(settings).values()]
        with refill.administrator(settings.require_dsn()) as admin:
            found = sorted(refill.there(admin, [name + refill.OLD for name in names]))
            refill.forget(admin, names, refill.OLD)
        old = settings.models.with_name(settings.models.name + restore_files.OLD)
        restore_files.clear({"folders": [[str(old), ""]]})
    return found


def _bring(
    settings: Settings,
    folder: Path,
    read: Read,
    names: dict[str, str],
    done: Restored,
    *,
    secrets: dict[str, bytes],
    with_settings: bool,
) -> None:
    plan: dict[str, Any] = {"name": read.manifest.name, "databases": list(names.values())}
    targets = list(names.values())
    try:
        with refill.administrator(settings.require_dsn()) as admin:
            for trouble in _in_use(admin, targets):
                raise trouble
        for database, name in names.items():
            restore_databases.fill(settings, folder / f"{database}.dump", name, read.manifest.databases[database])
        done.notes += restore_databases.let_go(settings, names["appliance"])
        if not secrets:
            restore_databases.adopt_token(settings, names["appliance"])
        plan |= restore_files.unpack(settings, folder / backup_files.FILES, with_settings=with_settings)
        plan["files"] += restore_files.unseal(settings, secrets)
        # Somebody may have come while the databases were being filled: then nothing is begun.
        with refill.administrator(settings.require_dsn()) as admin:
            for trouble in _in_use(admin, targets):
                raise trouble
    except BaseException:
        _undo(settings, plan)
        raise
    durable.write(settings.backups / backup_state.PLAN, json.dumps(plan).encode(), 0o600)
    try:
        _finish(settings, plan)
    except BackupTrouble:
        # The databases were not renamed, and nothing else was begun.
        _undo(settings, plan)
        (settings.backups / backup_state.PLAN).unlink()
        raise
    done.files = [target for _, target in plan["folders"] + plan["files"]]
    done.notes += _next_steps(settings, secrets=bool(secrets))


def _finish(settings: Settings, plan: dict[str, Any]) -> None:
    """Rename all into its place. What is done already is passed over."""
    with refill.administrator(settings.require_dsn()) as admin:
        refill.swap(admin, plan["databases"])
    restore_files.put(plan)
    (settings.backups / backup_state.PLAN).unlink()
    durable.sync_folder(settings.backups)


def _undo(settings: Settings, plan: dict[str, Any]) -> None:
    restore_files.clear(plan)
    with suppress(Exception), refill.administrator(settings.require_dsn()) as admin:
        refill.forget(admin, plan["databases"], refill.NEW)


@contextmanager
def _folder(settings: Settings, given: str) -> Iterator[Path]:
    """The backup as a folder on this machine."""
    path = Path(given)
    if path.name == backup_manifest.FILE:
        path = path.parent
    if path.is_dir():
        yield path.absolute()
        return
    if settings.backup_to is None or "/" in given:
        raise BackupTrouble("gone", f"There is no folder {given}.", "Name the folder that a backup is.")
    with backup_places.of(settings).here(given) as here:
        yield here


def _examined(folder: Path, signed_by: str) -> Read:
    """The manifest of a backup whose every byte is as it was."""
    place = InFolder(folder.parent)
    read = backup_manifest.read(place.manifest(folder.name), folder.name)
    if signed_by and read.signed_by != signed_by:
        raise BackupTrouble(
            "damaged", f"{folder.name} was not signed by that key, but by {read.signed_by}.", "Take another backup."
        )
    if wrong := backup_places.verify(place, folder.name, read.manifest.pieces):
        raise BackupTrouble("damaged", wrong[0], "Take another backup: `appliance backup list`.")
    return read


def _said(settings: Settings, read: Read) -> Restored:
    manifest = read.manifest
    done = Restored(
        name=manifest.name,
        made_at=manifest.made_at.isoformat(),
        signed_by=read.signed_by,
        databases=list(_names(settings, read)),
        rows=manifest.rows,
        from_version=manifest.revision,
        to_version=revision.head(),
    )
    if manifest.site != settings.site:
        done.notes.append(f"It is of site {manifest.site}, and this box is {settings.site}.")
    return done


def _secrets(folder: Path, read: Read, identity: Path | None, done: Restored) -> dict[str, bytes]:
    if identity is None:
        if read.manifest.recipient:
            done.notes.append("Secrets stay as they are on this box: --identity names the key that opens those of it.")
        return {}
    if not read.manifest.recipient:
        raise BackupTrouble("key", "There are no secrets in this backup.", "Leave --identity out.")
    done.secrets = True
    return backup_files.open_secrets((folder / backup_files.SECRETS).read_bytes(), identity)


def _names(settings: Settings, read: Read) -> dict[str, str]:
    """Which databases of the backup come back, and what they are called here."""
    here = {name: refill.named(dsn) for name, dsn in backup.databases(settings).items()}
    return {name: here[name] for name in read.manifest.databases if name in here}


def _demand_version(settings: Settings, read: Read) -> None:
    manifest = read.manifest
    if manifest.revision not in revision.known():
        raise BackupTrouble(
            "version",
            f"The backup is of release {manifest.release} with tables {manifest.revision}; this release knows them up to"
            f" {revision.head()}.",
            f"Install release {manifest.release} or a newer one first, then restore.",
        )
    with refill.administrator(settings.require_dsn()) as admin:
        server = refill.server_version(admin)
    newest = max(held.postgres for held in manifest.databases.values())
    if newest > server:
        raise BackupTrouble(
            "version",
            f"The backup is of PostgreSQL {newest}, and the server here is {server}.",
            f"Restore onto a machine with PostgreSQL {newest} or newer.",
        )


def _demand_room(settings: Settings, read: Read) -> None:
    """Old and new databases lie side by side for a while, and both keep to the disk of the data, as on a box."""
    needed = sum(held.size for held in read.manifest.databases.values())
    needed += 2 * sum(piece.bytes for piece in read.manifest.pieces if piece.name == backup_files.FILES)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    free = room.look(settings).free
    if free < needed:
        raise BackupTrouble(
            "room",
            f"The restore takes {needed // _MIB:,} MiB beside what is there, and {free // _MIB:,} are free.",
            "Free some, or remove what an earlier restore left: `appliance restore --forget`.",
        )


def _in_use(admin: str, names: list[str]) -> Iterator[BackupTrouble]:
    """What has to be stopped before."""
    running = [
        unit.name
        for unit in units.units()
        if unit.name.startswith(_OURS)
        and unit.name.endswith((".service", ".timer", ".socket"))
        and unit.active in ("active", "activating", "reloading")
    ]
    if running:
        yield BackupTrouble(
            "in_use",
            f"Services of the appliance run ({', '.join(running)}).",
            f"Stop them: systemctl stop appliance.target {' '.join(running)}",
        )
    elif found := refill.users(admin, names):
        yield BackupTrouble("in_use", f"Somebody uses the databases ({', '.join(found)}).", "Stop that first.")


def _next_steps(settings: Settings, *, secrets: bool) -> list[str]:
    notes = ["What was there before is kept: `appliance restore --forget` removes it."]
    if units.units():
        notes.append("Start the services again: systemctl start appliance.target")
    if settings.schedule == "airflow":
        notes.append("Airflow's tables are brought to this release when its services start.")
        if not secrets:
            notes.append("Airflow's keys are those of this box: `appliance airflow password` makes a new password.")
    return notes
