"""Simulated rows, out of the books and off the disk, in steps that can be killed anywhere and done again.

First what waits in the drop folder, so that nothing comes after. Then a file loses its parts with their predictions:
from there on nothing reads what lies on the disk for it. Then that goes, durably, and only then the file's row, which
was the one that accounted for it. Machines come last.

Other passes get in between two steps; a simulator is kept out until all is done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance import demo_lock, intake, outputs
from appliance.durable import sync_folder
from appliance.errors import ApplianceError, UsageError
from appliance.intake import Look
from appliance.names import DEMO, is_demo
from appliance.pipeline import Box
from appliance.places import archived, discard_outputs
from appliance.settings import Settings
from appliance.store import demo_rows as store
from appliance.store import engine, journal

# Bounds of a step: a fraction of a second in the database.
ROWS_AT_A_TIME = 20_000
FILES_AT_A_TIME = 500
# What a killed simulator, or a refusal on another disk, left of such files under a hidden name.
_HIDDEN = re.compile(rf"\.+(refused-[0-9a-f]{{8}}-)?{re.escape(DEMO)}")
# A profile that no row of the database has.
_NONE = 0


@dataclass(slots=True)
class DemoRows:
    """How much there is, or was removed. ``waiting``: files in the drop folder. ``kept``: marked machines that stay,
    because a file without the mark holds rows of them."""

    waiting: int = 0
    arrivals: int = 0
    files: int = 0
    rows: int = 0
    predictions: int = 0
    machines: int = 0
    alarms: int = 0
    outcomes: int = 0
    kept: int = 0

    def __bool__(self) -> bool:
        return any(value for name, value in self.as_dict().items() if name != "kept")

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def sentence(self) -> str:
        if not self:
            said = "There are no simulated rows."
        else:
            said = (
                f"{self.files:,} simulated files with {self.rows:,} rows ({self.arrivals:,} arrivals, {self.waiting:,}"
                f" waiting in the drop folder), {self.predictions:,} predictions, {self.machines:,} machines with"
                f" {self.alarms:,} alarms and {self.outcomes:,} outcomes."
            )
        if self.kept:
            machines = "machine, which stays" if self.kept == 1 else "machines, which stay"
            said += f" Files that are not simulated hold rows of {self.kept:,} more such {machines}."
        return said


def count(box: Box, profile: str | None = None) -> DemoRows:
    """What there is now (of one profile). UsageError where nobody knows the profile."""
    number = _number(box, profile)
    with engine.transaction(box.engine) as connection:
        found = store.count(connection, number)
    return DemoRows(waiting=len(_waiting(box.settings, profile)), **found)


def remove(box: Box, profile: str | None = None) -> DemoRows:
    """Remove all of it; gives what was removed. Conflict where a simulator is running."""
    engine.ping(box.engine)
    number = _number(box, profile)
    removal = _Removal(box, profile, number, DemoRows())
    with demo_lock.silence(box.settings.raw):
        for step in (removal.drop_folder, removal.parts, removal.events, removal.others, removal.files):
            while True:
                with intake.exclusive(box.settings.work, wait=True):
                    if not step():
                        break
        removal.machines()
    with engine.transaction(box.engine) as connection:
        removal.done.kept = store.count(connection, number)["kept"]
        if removal.done:
            said = f"Removed: {removal.done.sentence()}"
            journal.event(connection, "demo_removed", "info", said, removal.done.as_dict())
    return removal.done


@dataclass(slots=True)
class _Removal:
    """Steps that say whether they have to be done once more."""

    box: Box
    profile: str | None
    number: int | None
    done: DemoRows
    after: int = 0

    def drop_folder(self) -> bool:
        settings = self.box.settings
        # As a pass begins: what a killed one was moving away has its name back then.
        intake.tidy(settings.work, settings.raw)
        outputs.tidy(settings.work)
        for look in _waiting(settings, self.profile):
            self.done.waiting += intake.remove(settings.raw, look.path, look.identity)
        for path in _left_over(settings.raw, self.profile):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        return False

    def parts(self) -> bool:
        with engine.transaction(self.box.engine) as connection:
            rows, predictions = store.delete_parts(connection, self.number, ROWS_AT_A_TIME)
        self.done.rows += rows
        self.done.predictions += predictions
        return rows > 0

    def events(self) -> bool:
        with engine.transaction(self.box.engine) as connection:
            store.delete_events(connection, self.number)
        return False

    def others(self) -> bool:
        """Arrivals that became no file: duplicates above all, which refer to one."""
        return self._arrivals(files=False)

    def files(self) -> bool:
        return self._arrivals(files=True)

    def _arrivals(self, *, files: bool) -> bool:
        with engine.transaction(self.box.engine) as connection:
            gone = store.leaving(connection, self.number, files=files, after=self.after, limit=FILES_AT_A_TIME)
        self.after = gone[-1].arrival.id if gone else 0
        if not gone:
            return False
        _off_the_disk(self.box.settings, gone)
        with engine.transaction(self.box.engine) as connection:
            rows = store.delete_arrivals(connection, gone)
        self.done.rows += rows
        self.done.arrivals += len(gone)
        self.done.files += len(gone) if files else 0
        return True

    def machines(self) -> None:
        with engine.transaction(self.box.engine) as connection:
            marked = store.machines(connection, self.number)
        for machine in marked:
            while answers := self._transact(lambda c, m=machine: store.delete_answers(c, m, ROWS_AT_A_TIME)):
                self.done.predictions += answers
            gone = self._transact(lambda c, m=machine: store.delete_machine(c, m))
            self.done.predictions += gone["predictions"]
            self.done.machines += gone["machines"]
            self.done.alarms += gone["alarms"]
            self.done.outcomes += gone["outcomes"]

    def _transact(self, step: Callable[..., Any]) -> Any:
        with engine.transaction(self.box.engine) as connection:
            return step(connection)


def _number(box: Box, profile: str | None) -> int | None:
    """The id of the profile; None for all."""
    if profile is None:
        return None
    with engine.transaction(box.engine) as connection:
        known = store.profile_ids(connection)
    if profile not in known and not (box.settings.raw / profile).is_dir():
        there = f"There are {', '.join(known)}." if known else "None has had a file yet."
        raise UsageError(f"Nobody knows a profile {profile!r} here.", there)
    return known.get(profile, _NONE)


def _waiting(settings: Settings, profile: str | None) -> list[Look]:
    """Marked entries of the drop folder, whether or not a model takes files of their profile."""
    looks = intake.look(settings.raw, _folders(settings.raw, profile)).values()
    return [look for look in looks if is_demo(look.path.name) or is_demo(look.folder)]


def _folders(raw: Path, profile: str | None) -> list[str]:
    try:
        with os.scandir(raw) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    except FileNotFoundError:
        return []
    return [name for name in found if profile in (None, name)]


def _left_over(raw: Path, profile: str | None) -> Iterator[Path]:
    """What simulators keep and leave beside their files, and their folders once these are empty."""
    for path in _entries(raw):
        mine = profile is None or path.name.startswith(f".{DEMO}simulate-{profile}.")
        if mine and _HIDDEN.match(path.name) and path.name != demo_lock.LOCK:
            yield path
    for name in _folders(raw, profile):
        for path in _entries(raw / name):
            folder = path.is_dir() and not path.is_symlink()
            if folder:
                yield from (entry for entry in _entries(path) if _HIDDEN.match(entry.name))
            if (is_demo(path.name) and not _entries(path)) if folder else _HIDDEN.match(path.name):
                yield path


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _off_the_disk(settings: Settings, gone: Sequence[store.Leaving]) -> None:
    """Remove what lies on the disk for these arrivals, so that it stays removed after a power cut."""
    touched = set()
    for one in gone:
        if one.arrival.state == "claimed":
            discard_outputs(settings, one.arrival)
        kept = archived(settings, one.profile, one.arrival)
        for path in (kept, *(settings.data_dir / path for path in one.paths)):
            try:
                outputs.discard(path)
            except OSError as error:
                said = f"{path} cannot be removed: {error.strerror}."
                raise ApplianceError(said, "Run this as the user of the appliance.") from None
            touched.add(path.parent)
    for folder in touched:
        if folder.is_dir():
            sync_folder(folder)
            if not _entries(folder):
                folder.rmdir()
