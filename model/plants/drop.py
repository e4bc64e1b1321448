"""How a plant's files get into the raw folder, and the record of what was dropped."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from appliance import durable
from appliance.names import DEMO
from appliance.profile import Profile
from model import faults
from model.plants.source import Drop
from model.plants.stopping import Stop

# A careless machine takes this long over a file, longer than a moment, so that a reader can meet it half written.
CARELESS_SECONDS = 1.0
_CARELESS_PIECES = 5
# How long a plant that holds back pauses before it looks again, should its interval be shorter.
_HELD_SECONDS = 1.0


@dataclass(slots=True)
class Played:
    """What was dropped so far."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    faulty_files: int = 0
    spoiled_rows: int = 0


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which files are spoiled: a ``share`` of them, by the faults in turn, fixed by the seed."""

    kinds: Sequence[faults.Fault]
    share: float
    seed: int

    def seed_of(self, drop: Drop) -> list[int]:
        return [self.seed, drop.sequence, *drop.machine.encode()]

    def hits(self, drop: Drop) -> bool:
        return bool(self.kinds) and bool(np.random.default_rng([1, *self.seed_of(drop)]).random() < self.share)


class Dropper:
    """Writes drops into ``raw/<profile>/``; where the folder says the machine, into a folder per machine below it.

    ``raw`` itself has to be there: where it is not, a disk is missing, and nothing is written beside it.
    ``manifest`` gets a JSON line per file, fsynced before the file has its name: after a kill its last line may name a
    file that never came, and no file is missing from it.
    """

    def __init__(
        self,
        raw: Path,
        profile: Profile,
        *,
        plan: FaultPlan | None = None,
        careless: bool = False,
        manifest: Path | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.played = Played()
        self._raw, self._profile, self._plan, self._careless = raw, profile, plan, careless
        self._manifest = manifest
        self._stop = stop or threading.Event()
        self._shift: dict[str, int] = {}

    def drop(self, drop: Drop) -> None:
        """Drop one file, or two where a fault brings it again."""
        if self._plan is None or not drop.rows or not self._plan.hits(drop):
            self._put(drop, "", faults.Spoiled(drop.data, drop.rows, (), "none"), ())
            return
        fault = self._plan.kinds[self.played.faulty_files % len(self._plan.kinds)]
        self.played.faulty_files += 1
        spoiled = faults.spoil(fault.name, drop.data, self._profile, self._plan.seed_of(drop))
        self.played.spoiled_rows += len(spoiled.bad_rows)
        if fault.again:
            self._put(drop, "", spoiled, ())
        self._put(drop, "_again" if fault.again else "", spoiled, (fault.name,))

    def waiting(self) -> int:
        """How many files with the mark of simulated ones nobody has taken yet."""
        return sum(1 for _ in (self._raw / self._profile.name).glob(self._marked(f"{DEMO}*")))

    def tidy(self) -> None:
        """Remove what a killed simulator left half written of such files."""
        for left in (self._raw / self._profile.name).glob(self._marked(f".{DEMO}*.tmp")):
            left.unlink(missing_ok=True)

    def _marked(self, files: str) -> str:
        return f"{DEMO}*/{files}" if self._profile.machine.from_ == "folder" else files

    def _put(self, drop: Drop, ending: str, spoiled: faults.Spoiled, names: Sequence[str]) -> None:
        folder = self._raw / self._profile.name
        folder.mkdir(exist_ok=True)
        if self._profile.machine.from_ == "folder":
            folder /= drop.machine
            folder.mkdir(exist_ok=True)
        path = self._free(folder, drop, ending)
        if self._manifest is not None:
            _append(
                self._manifest,
                {
                    "path": path.relative_to(self._raw).as_posix(),
                    "machine": drop.machine,
                    "sha256": hashlib.sha256(spoiled.data).hexdigest(),
                    "rows": spoiled.rows,
                    "faults": list(names),
                    "expected": spoiled.expected,
                    "spoiled": list(spoiled.bad_rows),
                },
            )
        if self._careless:
            self._write_carelessly(path, spoiled.data)
        else:
            durable.write(path, spoiled.data)
        self.played.files += 1
        self.played.rows += spoiled.rows
        self.played.bytes += len(spoiled.data)

    def _free(self, folder: Path, drop: Drop, ending: str) -> Path:
        """A name that nothing waits under: an earlier play's files are not overwritten."""
        while True:
            number = drop.sequence + self._shift.get(drop.machine, 0)
            path = folder / f"{drop.machine}_{number:06d}{ending}.csv"
            if not path.exists():
                return path
            self._shift[drop.machine] = self._shift.get(drop.machine, 0) + 1

    def _write_carelessly(self, path: Path, data: bytes) -> None:
        size = -(-len(data) // _CARELESS_PIECES) or 1
        with path.open("wb") as file:
            for start in range(0, len(data), size):
                file.write(data[start : start + size])
                file.flush()
                # Whoever is told to stop finishes the file, at once.
                self._stop.wait(CARELESS_SECONDS / _CARELESS_PIECES)


def _append(manifest: Path, line: Mapping[str, Any]) -> None:
    with manifest.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def play(
    drops: Iterable[Drop],
    dropper: Dropper,
    *,
    interval: float,
    stop: Stop,
    progress: Callable[[Played], None] = lambda played: None,
    held: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Drop a file every ``interval`` seconds until there is none left or ``stop`` is set; gives the totals.

    While it is ``held``, turns are left out.
    """
    for drop in _in_time(drops, interval, stop, held):
        dropper.drop(drop)
        progress(dropper.played)
    return {**asdict(dropper.played), "stopped": stop.is_set()}


def _in_time(drops: Iterable[Drop], interval: float, stop: Stop, held: Callable[[], bool]) -> Iterator[Drop]:
    """Each drop when it is due. The next is fetched only then: a stop in between leaves it for the next start."""
    source = iter(drops)
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        if held():
            due = time.monotonic() + max(interval, _HELD_SECONDS)
            continue
        drop = next(source, None)
        if drop is None:
            return
        yield drop
        # What a box missed that slept, or whose disk hung, is not made up for but for one turn.
        due = max(due + interval, time.monotonic())
