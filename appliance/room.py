"""Room on the disk: how much must stay free, and what makes way for new files.

Where a bucket is set, what it has makes way, the oldest first: originals in the archive, then good rows, then whole months
of predictions. What is not in the bucket yet never does. Where none is set nothing makes way but by its age.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from appliance import pruning
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import journal, retention
from appliance.store import room as store
from appliance.store.engine import Engine

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """In bytes, of the disk of the data folder."""

    free: int
    size: int
    reserve: int

    @property
    def is_short(self) -> bool:
        return self.free < self.reserve


@dataclass(slots=True)
class Made:
    """What made way."""

    originals: int = 0
    good_files: int = 0
    months: list[str] = field(default_factory=list)
    bytes: int = 0


def look(settings: Settings) -> Room:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    size = disk.f_blocks * disk.f_frsize
    reserve = min(size * settings.disk_reserve_percent // 100, settings.disk_reserve_mb * _MIB)
    return Room(disk.f_bavail * disk.f_frsize, size, reserve)


def shortage(settings: Settings, engine: Engine) -> str:
    """Why no further file may be taken, '' where it may; what can make way, did. People are told, once a day."""
    if not look(settings).is_short:
        return ""
    make(settings, engine)
    now = look(settings)
    if not now.is_short:
        return ""
    said = f"The disk has {now.free // _MIB:,} MiB left and is to keep {now.reserve // _MIB:,}: files wait in the drop folder."
    if settings.s3_bucket is None:
        said += " No bucket is set, so data goes by its age alone: shorten archive_days or prediction_days."
    else:
        said += " All that the bucket has made way; it goes on by itself once more is copied."
    with engines.transaction(engine) as connection:
        if (days := retention.days_left(connection)) is not None:
            said += f" At the pace of the last week the disk is full in {lasting(days)}."
        journal.event_once(connection, "ingest_held", "error", said, {})
    return said


def lasting(days: float) -> str:
    """So many days, as one says it."""
    return "less than a day" if days < 1 else "1 day" if days < 1.5 else f"{days:,.0f} days"


def make(settings: Settings, engine: Engine) -> Made:
    """Let go of what is in the bucket until there is room again. Done again after a kill, it goes on."""
    done = Made()
    if settings.s3_bucket is None:
        return done
    for step in (_originals, _good_rows, _months):
        for _ in step(settings, engine, done):
            if not look(settings).is_short:
                return done
    return done


def _originals(settings: Settings, engine: Engine, done: Made) -> Iterator[None]:
    for _, folder in pruning.dated_folders(settings.archive):
        named = {number_of(path): path for path in folder.iterdir() if path.is_file() and number_of(path)}
        with engines.transaction(engine) as connection:
            copied = store.copied_arrivals(connection, list(named))
        for number in sorted(copied):
            done.bytes += _remove(named[number])
            done.originals += 1
        yield


def _good_rows(settings: Settings, engine: Engine, done: Made) -> Iterator[None]:
    for _, folder in pruning.dated_folders(settings.good):
        named = {int(path.stem): path for path in folder.glob("*.parquet") if path.stem.isdigit()}
        with engines.transaction(engine) as connection:
            # Marked before they go: what a kill leaves lying is found marked the next time.
            evicted = store.evict(connection, list(named))
        for number in sorted(evicted):
            done.bytes += _remove(named[number])
            done.good_files += 1
        yield


def _months(settings: Settings, engine: Engine, done: Made) -> Iterator[None]:
    with engines.transaction(engine) as connection:
        now = retention.now_of(connection)
        old = [month for month in retention.months(connection) if month.end <= now]
    for month in old:
        before = look(settings).free
        with engines.transaction(engine) as connection:
            if not store.is_copied(connection, month):
                return
            size = retention.size_of(connection, month)
            retention.drop_month(connection, month, "to make room; they are in the bucket")
        done.months.append(f"{month.start:%Y-%m}")
        done.bytes += size
        yield
        if look(settings).free - before < size // 2:
            return  # the database lies on another disk, and losing more of it helps nobody


def number_of(original: Path) -> int:
    """The arrival's number at the end of an original's name, 0 where there is none."""
    with suppress(ValueError):
        return int(original.name.rpartition(".")[2])
    return 0


def _remove(path: Path) -> int:
    with suppress(FileNotFoundError):
        size = path.lstat().st_size
        path.unlink()
        return size
    return 0
