"""The restore drill: a backup is one that was restored. The newest is, every night, into a database that is thrown away."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from appliance import backup, backup_manifest, backup_places, room, runs
from appliance.backup_manifest import Manifest
from appliance.errors import BackupTrouble
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import backups, dump
from appliance.store import engine as engines

DATABASE = "appliance_drill"
NONE = "There is no backup yet."
_MIB = 1 << 20


@dataclass(slots=True)
class Drilled:
    """``rows``: of all databases, counted after they came back."""

    name: str = ""
    databases: int = 0
    tables: int = 0
    rows: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"backup": self.name or None, "databases": self.databases, "tables": self.tables, "rows": self.rows}

    def counts(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if not self.name:
            return NONE
        return (
            f"{self.name} was restored: {self.databases} databases, {self.tables} tables and {self.rows:,} rows came out"
            " as they were."
        )


def once(box: Box) -> Drilled:
    """Drill with the newest backup; BackupTrouble where it does not come out as it was."""
    settings, done = box.settings, Drilled()
    with backup.exclusive(settings), runs.recorded(box.engine, "drill", done.counts) as run:
        place = backup_places.of(settings)
        backup.adopt(box, place)
        newest = backup.newest(box.engine, place)
        if newest is None:
            run.skip(NONE)
            return done
        try:
            with place.here(newest.name) as folder:
                here = backup_places.InFolder(folder.parent)
                manifest = backup_manifest.read(here.manifest(folder.name), newest.name).manifest
                wrong = backup_places.verify(here, folder.name, manifest.pieces)
                if wrong:
                    raise BackupTrouble("damaged", wrong[0], "Make another: `appliance backup`.")
                _demand_room(settings, manifest)
                for name, held in manifest.databases.items():
                    with dump.throwaway(settings.require_dsn(), DATABASE, like=name) as dsn:
                        with (folder / f"{name}.dump").open("rb") as file:
                            dump.fill(dsn, file)
                        wrong = dump.differences(dsn, held.tables)
                    if wrong:
                        said = f"Database {name} did not come out of {newest.name} as it was: {wrong[0]}"
                        raise BackupTrouble("damaged", said, "Make another: `appliance backup`.")
                    done.databases += 1
                    done.tables += len(held.tables)
                    done.rows += sum(table.rows for table in held.tables.values())
        except BackupTrouble as trouble:
            with engines.transaction(box.engine) as connection:
                backups.drilled(connection, place.name, newest.name, str(trouble))
            raise
        done.name = newest.name
        with engines.transaction(box.engine) as connection:
            backups.drilled(connection, place.name, newest.name, None)
    return done


def _demand_room(settings: Settings, manifest: Manifest) -> None:
    """The database lies on the disk of the data, as on a box; a drill must not be what stops files from being taken."""
    needed = max(held.size for held in manifest.databases.values())
    look = room.look(settings)
    if look.free - look.reserve < needed:
        raise BackupTrouble(
            "room",
            f"A drill takes {needed // _MIB:,} MiB, and {max(look.free - look.reserve, 0) // _MIB:,} are free.",
            "Shorten prediction_days, or take a larger disk.",
        )
