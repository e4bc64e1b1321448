"""The databases of a backup: filled beside those that are in use, which a rename replaces once all of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import BackupTrouble
from appliance.settings import Settings
from appliance.store import dump, migrations, principals, refill
from appliance.store import engine as engines
from appliance.store import room as store_room
from appliance.store.engine import Connection
from appliance.store.rows import Role, Source

_SCHEDULE: tuple[str, Role, Source] = ("schedule", "operator", "scheduled")


def fill(settings: Settings, file: Path, name: str, held: dump.Snapshot) -> None:
    """Have a database beside the one of that name, filled from a dump and of this release.

    BackupTrouble where a table came out otherwise than it was written down.
    """
    with file.open("rb") as source, refill.administrator(settings.require_dsn()) as admin:
        role = refill.prepare(admin, name)
        fresh = dump.beside(admin, name + refill.NEW)
        dump.fill(fresh, source, role=role)
        if wrong := dump.differences(fresh, held.tables):
            raise BackupTrouble(
                "damaged", f"{file.name} did not come out as it was: {wrong[0]}", "Take another backup."
            )
        if file.stem == "appliance":
            migrations.migrate(refill.as_role(fresh, role))
            refill.rights(admin, name)


def adopt_token(settings: Settings, name: str) -> None:
    """Without the secrets of the backup the box keeps the token of its schedule, which the tables know nothing of."""
    if settings.api_token is None:
        return
    with _beside(settings, name) as connection:
        principals.adopt_token(connection, settings.api_token.get_secret_value(), *_SCHEDULE)


def let_go(settings: Settings, name: str) -> list[str]:
    """Rows of files come with no backup: where this disk has them not, those in the bucket count as let go of."""
    with _beside(settings, name) as connection:
        gone = [
            number
            for number, paths in store_room.rows_here(connection)
            if not all((settings.data_dir / path).is_file() for path in paths)
        ]
        evicted = len(store_room.evict(connection, gone))
    notes = []
    if evicted:
        notes.append(f"Rows of {_files(evicted)} are not on this disk; the bucket has them.")
    if lost := len(gone) - evicted:
        notes.append(
            f"Rows of {_files(lost)} are neither on this disk nor in a bucket; what was predicted of them is back."
        )
    return notes


@contextmanager
def _beside(settings: Settings, name: str) -> Iterator[Connection]:
    """A transaction in the database that is being filled beside the one of that name."""
    with refill.administrator(settings.require_dsn()) as admin:
        engine = engines.connect(dump.beside(admin, name + refill.NEW), "appliance-restore", 1)
    try:
        with engines.transaction(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
