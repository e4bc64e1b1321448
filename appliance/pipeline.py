"""The journey of a file: from the drop folder to good and bad rows, and from good rows to durable predictions.

The database row is the commit. What lies on the disk under an id may be written again by a pass that takes up where a
killed one left; the original is removed last. Nobody else commits what stands here, but the API, which commits
predictions.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance import bundle, intake, outputs, signing
from appliance.client import Client
from appliance.errors import ApiAway, ApplianceError, Conflict, FileRefused, StoreAway
from appliance.intake import Claimed, Look
from appliance.places import Places, discard_outputs
from appliance.profile import Profile
from appliance.settings import Settings
from appliance.splitting import Split, split
from appliance.store import engine, ledger, parts
from appliance.store import models as model_store
from appliance.store.engine import Connection, Engine
from appliance.store.rows import Arrival, Part, RunKind, RunOutcome

PARTS_AT_A_TIME = 100
# SHA-256 of no bytes: for an entry that must not be opened, such as a link or a pipe.
NOTHING = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Box:
    settings: Settings
    engine: Engine

    def client(self) -> Client:
        return Client.of(self.settings)


def open_box(settings: Settings) -> Box:
    """The box that the settings describe; nothing is connected yet."""
    return Box(settings, engine.connect(settings.require_dsn(), application="appliance-pipeline"))


@dataclass(slots=True)
class Ingested:
    """What one pass over the drop folders did."""

    files: int = 0
    rows_in: int = 0
    rows_good: int = 0
    rows_bad: int = 0
    duplicates: int = 0
    quarantined: int = 0
    left: int = 0  # still being written, or beyond the time of this pass

    @property
    def arrivals(self) -> int:
        return self.files + self.duplicates + self.quarantined

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if not self.arrivals and not self.left:
            return "No new files."
        return (
            f"{self.files} files with {self.rows_in:,} rows: {self.rows_good:,} good, {self.rows_bad:,} bad; "
            f"{self.duplicates} duplicates, {self.quarantined} quarantined, {self.left} left for the next pass."
        )


@dataclass(slots=True)
class PartsPredicted:
    """What one pass over the waiting parts did."""

    parts: int = 0
    rows: int = 0
    failing: int = 0
    held: int = 0  # another pass works on them
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if not self.parts and not self.failed and not self.held:
            return "No new good data."
        said = f"{self.parts} parts with {self.rows:,} rows predicted, {self.failing:,} of them failing."
        return " ".join([said, *(f"Failed: {error}" for error in self.errors)])


def ingest(box: Box, seconds: float | None = None) -> Ingested:
    """One pass over the drop folders. Conflict where another pass is at it."""
    settings, done = box.settings, Ingested()
    deadline = None if seconds is None else time.monotonic() + seconds
    settings.work.mkdir(parents=True, exist_ok=True)
    with intake.exclusive(settings.work):
        profiles = _active_profiles(settings)
        intake.tidy(settings.work, settings.raw)
        outputs.tidy(settings.work)
        first = intake.look(settings.raw, profiles)
        unfinished = _finish_interrupted(box, first)
        if not first:
            _record(box, "ingest", "skipped", {"why": "no new files"})
            return done
        time.sleep(settings.settle_seconds)
        ready = intake.settled(first, intake.look(settings.raw, profiles))
        # What a killed pass was at comes last: a file that kills whoever reads it must not stand in the way of others.
        ready.sort(key=lambda look: str(look.path) in unfinished)
        done.left = len(first) - len(ready)
        for number, look in enumerate(ready):
            if deadline is not None and time.monotonic() >= deadline:
                done.left += len(ready) - number
                break
            ingest_next(box, look, profiles[look.profile], done)
        _record(box, "ingest", "done", done.as_dict())
    return done


def ingest_next(box: Box, look: Look, profile: Profile, done: Ingested) -> None:
    """Take one settled file: claim, check, split, commit, and only then let go of the original."""
    settings = box.settings
    claimed = intake.claim(look, profile, settings.work, settings.file_limit_mb * 1024 * 1024)
    if not isinstance(claimed, Claimed):
        done.left += 1
        return
    with engine.transaction(box.engine) as connection:
        profile_id = model_store.ensure_profile(connection, profile)
        arrival = _claim(connection, profile_id, claimed, profile)
        # A pass that was killed after its commit left only the original to remove.
        state = "known" if _is_known(connection, arrival, claimed, done) else arrival.state
    places = Places.of(settings, profile, arrival)
    keep = places.quarantine if state == "quarantined" else places.archive
    if state == "claimed":
        try:
            if claimed.refusal is not None:
                raise claimed.refusal
            _take(box, arrival, split(settings, profile, arrival, claimed, places), done)
        except FileRefused as refusal:
            keep = places.quarantine
            with engine.transaction(box.engine) as connection:
                ledger.quarantine(connection, arrival, refusal.reason, str(refusal), places.relative(keep))
            done.quarantined += 1
    if keep is not None:
        places.make_folders(keep)
    gone = intake.release(claimed, keep)
    with engine.transaction(box.engine) as connection:
        ledger.cleared(connection, arrival.id)
        if not gone:
            said = f"{claimed.name} changed after it was read; what it holds now comes as a file of its own."
            ledger.event(connection, "file_changed", "warning", said, {"arrival": arrival.id}, profile_id)


def predict(box: Box, seconds: float | None = None) -> PartsPredicted:
    """One pass over the parts that wait. ApiAway or StoreAway end it; nothing is lost by that."""
    done = PartsPredicted()
    deadline = None if seconds is None else time.monotonic() + seconds
    with engine.transaction(box.engine) as connection:
        waiting = parts.waiting_parts(connection, PARTS_AT_A_TIME)
    if not waiting:
        _record(box, "predict", "skipped", {"why": "no new good data"})
        return done
    with box.client() as client:
        for part in waiting:
            if deadline is not None and time.monotonic() >= deadline:
                break
            predict_next(client, part, done)
    _record(box, "predict", "failed" if done.failed else "done", done.as_dict())
    return done


def retry_failed(box: Box) -> int:
    """Let parts that were given up wait again; their number."""
    with engine.transaction(box.engine) as connection:
        return parts.retry_failed(connection)


def predict_next(client: Client, part: Part, done: PartsPredicted) -> None:
    """Have one part scored by the API, which commits its rows and its mark in one transaction."""
    try:
        answer = client.predict_part(part.id)
    except (ApiAway, StoreAway):
        raise
    except Conflict:
        done.held += 1
    except ApplianceError as error:
        done.failed += 1
        done.errors.append(f"part {part.number} of {part.name}: {error}")
    else:
        done.parts += 1
        done.rows += answer["rows"]
        done.failing += answer["failing"]


def _active_profiles(settings: Settings) -> Mapping[str, Profile]:
    """The profiles of the active bundles: the contract is that of the model that will score the rows.

    A profile whose bundle cannot be trusted is left out; its files wait, and a health check says why.
    """
    keys = signing.trusted_keys(settings.keys)
    found = {}
    for name in bundle.profiles(settings.models):
        try:
            found[name] = bundle.active_profile(settings.models, name, keys)
        except ApplianceError:
            continue
    return found


def _finish_interrupted(box: Box, seen: Mapping[Path, Look]) -> set[str]:
    """Settle what a killed pass left open; the paths of originals that are still there and will be taken up again."""
    again = set()
    with engine.transaction(box.engine) as connection:
        for arrival in ledger.uncleared(connection):
            if arrival.state == "claimed":
                discard_outputs(box.settings, arrival)
            look = seen.get(Path(arrival.path))
            if look is not None and _is_original(look, arrival):
                again.add(arrival.path)
            elif arrival.state == "claimed":
                ledger.abandoned(connection, arrival, "the file went away before it was read")
            else:
                ledger.cleared(connection, arrival.id)
    return again


def _is_original(look: Look, arrival: Arrival) -> bool:
    identity = look.identity
    return (identity.device, identity.inode, identity.size, identity.mtime_ns) == (
        arrival.device,
        arrival.inode,
        arrival.size,
        arrival.mtime_ns,
    )


def _claim(connection: Connection, profile_id: int, claimed: Claimed, profile: Profile) -> Arrival:
    identity = claimed.look.identity
    return ledger.claim(
        connection,
        profile_id,
        claimed.origin,
        claimed.name,
        str(claimed.look.path),
        identity.size,
        identity.mtime_ns,
        identity.device,
        identity.inode,
        claimed.sha256 or NOTHING,
        profile.contract_hash(),
    )


def _is_known(connection: Connection, arrival: Arrival, claimed: Claimed, done: Ingested) -> bool:
    """Whether the same content was taken before; the arrival is settled as its duplicate then."""
    if arrival.state != "claimed" or claimed.refusal is not None:
        return False
    known = ledger.known_file(connection, arrival.profile_id, arrival.origin, arrival.sha256, arrival.contract_hash)
    if known is None:
        return False
    ledger.finish_duplicate(connection, arrival, known["id"])
    done.duplicates += 1
    return True


def _take(box: Box, arrival: Arrival, taken: Split, done: Ingested) -> None:
    """The commit that makes a file count: its rows, its issues and the parts that wait for a prediction."""
    with engine.transaction(box.engine) as connection:
        ledger.ingested(connection, arrival, taken.record, taken.issues, taken.part_sizes)
    done.files += 1
    done.rows_in += taken.record.rows_in
    done.rows_good += taken.record.rows_good
    done.rows_bad += taken.record.rows_bad


def _record(box: Box, kind: RunKind, outcome: RunOutcome, counts: dict[str, Any]) -> None:
    """A line in the table of runs: also when there was nothing to do, so that silence can be told from death."""
    with engine.transaction(box.engine) as connection:
        if outcome == "skipped":
            ledger.run_skipped(connection, kind, counts["why"])
        else:
            ledger.run_finished(connection, ledger.run_started(connection, kind), outcome, counts)
