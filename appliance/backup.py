"""A backup: both databases, models, profiles, settings, and secrets for the owner's eyes.

It is made in a folder aside and gets its name once all of it is on the disk; what a kill leaves is swept by the next
one. What it holds stands in its manifest, signed: the hash of each file, and of each table the count and a sample, taken
at the same moment as the dump, so that a restore can be compared with what was there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import __version__, backup_files, backup_manifest, backup_places, durable, room, runs, statements
from appliance.airflow import config as airflow
from appliance.backup_manifest import Manifest, Piece, Read
from appliance.backup_places import Place
from appliance.errors import BackupTrouble, Conflict
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import backups, dump, retention
from appliance.store import engine as engines
from appliance.store.backups import Kept
from appliance.store.engine import Engine

_MIB = 1 << 20
NO_SECRETS = "Secrets are not in it: no backup_recipient is set."


@dataclass(slots=True)
class Made:
    """What a run came to. ``removed``: older ones that were not to be kept."""

    name: str = ""
    place: str = ""
    bytes: int = 0
    rows: int = 0
    secrets: bool = False
    sha256: str = ""
    removed: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "backup": self.name,
            "place": self.place,
            "bytes": self.bytes,
            "rows": self.rows,
            "secrets": self.secrets,
            "sha256": self.sha256,
            "removed": self.removed,
        }

    def counts(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "rows": self.rows, "removed": len(self.removed)}

    def sentence(self) -> str:
        said = f"{self.name} in {self.place}: {self.bytes:,} bytes with {self.rows:,} rows, read back and found good."
        return said if self.secrets else f"{said} {NO_SECRETS}"


def once(box: Box) -> Made:
    """Make one, and let go of those that are old. Conflict where one is being made; BackupTrouble, BucketTrouble."""
    settings, done = box.settings, Made()
    with exclusive(settings), runs.recorded(box.engine, "backup", done.counts):
        place = backup_places.of(settings)
        place.ready()
        adopt(box, place)
        _demand_room(box, place)
        with engines.transaction(box.engine) as connection:
            now = retention.now_of(connection)
        try:
            with place.making() as folder:
                manifest, data = _make(settings, folder, now, place.names())
                place.keep(folder, manifest.name)
        except OSError as error:
            said = f"{place.disk()} cannot be written to ({error.strerror})."
            raise BackupTrouble("place", said, "See its room, its rights, and whether the disk is well.") from None
        wrong = backup_places.verify(place, manifest.name, manifest.pieces)
        if wrong:
            place.remove(manifest.name)
            raise BackupTrouble("damaged", f"{wrong[0]} It was removed again.", "The disk may be failing: check it.")
        done.name, done.place, done.bytes, done.rows = manifest.name, place.name, manifest.bytes, manifest.rows
        done.secrets, done.sha256 = bool(manifest.recipient), hashlib.sha256(data).hexdigest()
        with engines.transaction(box.engine) as connection:
            _write_down(connection, place, manifest, done.sha256, verified=True)
        done.removed = _let_go(box, place)
    return done


def adopt(box: Box, place: Place) -> None:
    """Bring ledger and place together: backups of this box that it does not know, as after a restore, and such as are not
    there any more."""
    own = statements.public_key(box.settings)
    there = place.names()
    with engines.transaction(box.engine) as connection:
        known = {kept.name for kept in backups.there(connection, place.name)}
        backups.removed(connection, place.name, sorted(known - set(there)))
    for name in sorted(set(there) - known):
        try:
            found = backup_manifest.read(place.manifest(name), name)
        except BackupTrouble:
            continue  # whatever it is, it is none of ours
        if found.signer == own and found.manifest.name == name:
            with engines.transaction(box.engine) as connection:
                _write_down(connection, place, found.manifest, found.sha256, verified=False)


def verify(box: Box, place: Place, name: str) -> tuple[Read, list[str]]:
    """Read every byte of a backup, and write down what was found: what is wrong, a sentence each."""
    data = place.manifest(name)
    try:
        found = backup_manifest.read(data, name)
    except BackupTrouble as trouble:
        with engines.transaction(box.engine) as connection:
            backups.verified(connection, place.name, name, trouble.message)
        raise
    wrong = backup_places.verify(place, name, found.manifest.pieces)
    with engines.transaction(box.engine) as connection:
        kept = next((one for one in backups.there(connection, place.name) if one.name == name), None)
        if kept is not None and kept.sha256 != found.sha256:
            wrong.insert(0, f"{name}/{backup_manifest.FILE} is another than was written.")
        backups.verified(connection, place.name, name, " ".join(wrong[:3]) or None)
    return found, wrong


def databases(settings: Settings) -> dict[str, str]:
    """The DSNs of what is backed up, by name: ours, and Airflow's where it keeps the schedule of this box."""
    found = {"appliance": settings.require_dsn()}
    if settings.schedule == "airflow":
        found["airflow"] = airflow.dsn(settings)
    return found


def newest(engine: Engine, place: Place) -> Kept | None:
    """The newest backup that is not known to be damaged."""
    with engines.transaction(engine) as connection:
        return next((kept for kept in backups.there(connection, place.name) if kept.damage is None), None)


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """One at a time makes, drills or restores on this box; Conflict where another is at it. It goes with the process."""
    settings.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    busy = Conflict("A backup, a drill or a restore is under way.", "Wait until it is done.")
    try:
        with durable.exclusive(settings.backups / ".turn", busy):
            durable.clear_unfinished(settings.backups)
            yield
    finally:
        _hand_over(settings.backups)


def chosen(made: list[tuple[str, datetime]], days: int, weeks: int, months: int) -> set[str]:
    """Which stay, of (name, when it was made), the newest first: of each of the newest so many days, weeks and months the
    newest, and the newest in any case."""
    kept = {name for name, _ in made[:1]}
    for count, period in ((days, "%Y-%m-%d"), (weeks, "%G-%V"), (months, "%Y-%m")):
        seen: dict[str, str] = {}
        for name, at in made:
            seen.setdefault(at.astimezone(UTC).strftime(period), name)
        kept |= set(list(seen.values())[:count])
    return kept


def _hand_over(folder: Path) -> None:
    """What root left there must not be in the way of whoever the folder belongs to."""
    if os.geteuid() == 0:
        found = folder.stat()
        for path in folder.iterdir():
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


def _make(settings: Settings, folder: Path, now: datetime, taken: list[str]) -> tuple[Manifest, bytes]:
    name = f"appliance-{settings.site}-{now:%Y%m%dT%H%M%SZ}"
    if name in taken:
        raise Conflict(f"There is a backup {name} already.", "Try again in a second.")
    held = {}
    for database, dsn in databases(settings).items():
        held[database] = dump.dump(dsn, folder / f"{database}.dump")
    backup_files.write_files(settings, folder / backup_files.FILES)
    has_secrets = backup_files.write_secrets(settings, folder / backup_files.SECRETS)
    manifest = Manifest(
        name=name,
        site=settings.site,
        made_at=now,
        release=__version__,
        recipient=settings.backup_recipient if has_secrets and settings.backup_recipient else "",
        pieces=tuple(_piece(path) for path in sorted(folder.iterdir())),
        databases=held,
    )
    data = backup_manifest.written(settings, manifest)
    (folder / backup_manifest.FILE).write_bytes(data)
    for path in folder.iterdir():
        durable.sync_file(path)
    return manifest, data


def _piece(path: Path) -> Piece:
    seen, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_MIB):
            seen.update(block)
            size += len(block)
    return Piece(path.name, size, seen.hexdigest())


def _demand_room(box: Box, place: Place) -> None:
    """A backup that would fill a disk is not begun. What is dumped shrinks; how much, the last one tells."""
    settings = box.settings
    whole = sum(dump.size_of(dsn) for dsn in databases(settings).values())
    last = newest(box.engine, place)
    needed = min(whole, 2 * last.bytes) if last is not None else whole
    needed += backup_files.files_bytes(settings)
    disk = os.statvfs(place.disk())
    free = disk.f_bavail * disk.f_frsize
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if place.disk().stat().st_dev == settings.data_dir.stat().st_dev:
        # Ingestion stops at this reserve: a backup must not be what brings it there.
        free -= room.look(settings).reserve
    if free < needed:
        raise BackupTrouble(
            "room",
            f"A backup takes up to {needed // _MIB:,} MiB, and {max(free, 0) // _MIB:,} are free in {place.disk()}.",
            "Keep fewer of them (backup_days, backup_weeks, backup_months), or take a larger disk.",
        )


def _write_down(
    connection: engines.Connection, place: Place, manifest: Manifest, sha256: str, *, verified: bool
) -> None:
    backups.keep(
        connection,
        manifest.name,
        place.name,
        manifest.made_at,
        manifest.bytes,
        sha256,
        manifest.revision,
        secrets=bool(manifest.recipient),
        verified=verified,
    )


def _let_go(box: Box, place: Place) -> list[str]:
    """Remove what the settings do not keep. Damaged ones count for nothing, and go with their day."""
    settings = box.settings
    with engines.transaction(box.engine) as connection:
        there = backups.there(connection, place.name)
    good = [(kept.name, kept.made_at) for kept in there if kept.damage is None]
    stay = chosen(good, settings.backup_days, settings.backup_weeks, settings.backup_months)
    drilled = [kept.name for kept in there if kept.drilled_at is not None and kept.drill_error is None]
    stay |= set(drilled[:1])  # that it can be restored was seen of this one
    go = sorted(kept.name for kept in there if kept.name not in stay)
    for name in go:
        place.remove(name)
        with engines.transaction(box.engine) as connection:
            backups.removed(connection, place.name, [name])
    return go
