"""The journey of a file: from the drop folder to good and bad rows, and from good rows to durable predictions.

The database row is the commit. What lies on the disk under an id may be written again by a pass that takes up where a
killed one left; the original is removed last. Nobody else commits what stands here, but the API, which commits
predictions.

What takes a second to load (Polars, the checks) is loaded when there is a file: most of the schedule's processes never
see one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import intake, mishaps, room, runs
from appliance.client import Client
from appliance.errors import ApiAway, ApplianceError, Conflict, FileRefused, StoreAway
from appliance.intake import Claimed, Look
from appliance.profile import Profile
from appliance.settings import Settings
from appliance.store import engine, figures, ledger, parts
from appliance.store import models as model_store
from appliance.store.engine import Connection, Engine
from appliance.store.rows import Arrival, Part
from appliance.tallies import Ingested, PartsPredicted

if TYPE_CHECKING:
    from appliance.splitting import Split

__all__ = [
    "Box",
    "Ingested",
    "PartsPredicted",
    "ingest",
    "ingest_in_turn",
    "ingest_next",
    "open_box",
    "predict",
    "predict_next",
    "record_statistics",
    "retry_failed",
]

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


def ingest(box: Box, seconds: float | None = None) -> Ingested:
    """One pass over the drop folders. Conflict where another pass is at it."""
    with intake.exclusive(box.settings.work):
        return _pass(box, seconds)


def ingest_in_turn(box: Box) -> Ingested | None:
    """A pass as the schedule makes it; None, and a skipped run in the book, where another one is at it already."""
    with ExitStack() as stack:
        try:
            stack.enter_context(intake.exclusive(box.settings.work))
        except Conflict as busy:
            runs.skipped(box.engine, "ingest", busy.message)
            return None
        return _pass(box, box.settings.ingest_seconds)


def _pass(box: Box, seconds: float | None) -> Ingested:
    from appliance import outputs

    settings, done = box.settings, Ingested()
    deadline = None if seconds is None else time.monotonic() + seconds
    with runs.recorded(box.engine, "ingest", done.counts) as run:
        done.run = run.id
        profiles = _active_profiles(settings)
        intake.tidy(settings.work, settings.raw)
        outputs.tidy(settings.work)
        first = intake.look(settings.raw, profiles)
        unfinished = _finish_interrupted(box, first)
        if not first:
            run.skip("no new files")
            return done
        if why := room.shortage(settings, box.engine):
            done.left = len(first)
            run.skip(why)
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
            with mishaps.kept_to_one_file(box.engine, look, done):
                ingest_next(box, look, profiles[look.profile], done)
    return done


def ingest_next(box: Box, look: Look, profile: Profile, done: Ingested) -> None:
    """Take one settled file: claim, check, split, commit, and only then let go of the original."""
    from appliance.places import Places
    from appliance.splitting import split

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
        tries = ledger.tried(connection, arrival) if state == "claimed" else 0
    places = Places.of(settings, profile, arrival)
    keep = places.quarantine if state == "quarantined" else places.archive
    if state == "claimed":
        try:
            if claimed.refusal is not None:
                raise claimed.refusal
            with mishaps.counted(settings, box.engine, arrival, tries):
                _take(box, arrival, split(settings, profile, arrival, claimed, places), done)
        except FileRefused as refusal:
            keep = places.quarantine
            if refusal.reason == mishaps.POISONOUS:
                mishaps.give_up(box.engine, settings, profile, arrival, claimed, refusal, places)
            else:
                with engine.transaction(box.engine) as connection:
                    ledger.quarantine(connection, arrival, refusal.reason, str(refusal), places.relative(keep))
            done.quarantined += 1
            done.file_ids.append(arrival.file_id)
    if keep is not None:
        places.make_folders(keep)
    gone = intake.release(claimed, keep)
    with engine.transaction(box.engine) as connection:
        ledger.cleared(connection, arrival.id)
        if not gone:
            said = f"{claimed.name} changed after it was read; what it holds now comes as a file of its own."
            ledger.event(connection, "file_changed", "warning", said, {"arrival": arrival.id}, profile_id)


def record_statistics(box: Box, run: int) -> list[str]:
    """Keep the figures of a pass and of its files; a sentence for each that does not add up. Repeating changes nothing."""
    with engine.transaction(box.engine) as connection:
        return figures.record(connection, run)


def predict(box: Box, seconds: float | None = None) -> PartsPredicted:
    """One pass over the parts that wait. ApiAway or StoreAway end it; nothing is lost by that."""
    done = PartsPredicted()
    deadline = None if seconds is None else time.monotonic() + seconds
    with runs.recorded(box.engine, "predict", done.as_dict, signs=box.settings.work) as run:
        with engine.transaction(box.engine) as connection:
            waiting = parts.waiting_parts(connection, PARTS_AT_A_TIME)
        if not waiting:
            run.skip("no new good data")
            return done
        with box.client() as client:
            for part in waiting:
                if deadline is not None and time.monotonic() >= deadline:
                    break
                predict_next(client, part, done)
        if done.failed:
            run.fail(done.errors[0])
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
    from appliance import bundle, signing

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
    from appliance.places import discard_outputs

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
    # Not by its device: a disk may have another number after the box was switched on again.
    identity = look.identity
    return (identity.inode, identity.size, identity.mtime_ns) == (arrival.inode, arrival.size, arrival.mtime_ns)


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
    done.file_ids.append(arrival.file_id)
    done.rows_in += taken.record.rows_in
    done.rows_good += taken.record.rows_good
    done.rows_bad += taken.record.rows_bad
