"""What waits for S3, and its way there: good rows, bad rows, predictions and outcomes.

A pass puts into the ledger what came since the last one, then sends what waits, the oldest first. Whatever ends it, the
next one goes on: before a try it is written down what is sent where; parts that the store took are not sent again; and
only when the store has told the SHA-256 of what it has, or has let it be read back, is an object marked as verified. A
key says the content, so that doing it again can only put the same bytes under the same name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from appliance import durable, inbox, outbox_export, outbox_send, runs
from appliance.bucket import Bucket
from appliance.errors import ApplianceError, BucketTrouble, Conflict, DiskTrouble, SettingError, StoreAway
from appliance.pace import Pace, pause
from appliance.pipeline import Box
from appliance.store import engine as engines
from appliance.store import outbox as store
from appliance.store.outbox import Waiting

log = logging.getLogger(__name__)

AT_A_TIME = 100
# What is wrong with the store is wrong for all: the pass ends. One object may also be all that is wrong, so it makes
# way for the others, though not for long.
STORE_WIDE = ("away", "denied", "full")
_LONGEST_WAY_SECONDS = 600.0
_WATCH_SECONDS = 60.0
_MADE = ("predictions-", "outcomes-", ".predictions-", ".outcomes-")


@dataclass(slots=True)
class Synced:
    """What a pass did. ``put``: into the outbox, ``sent``: verified in the bucket, ``taken``: brought
    from there into the drop folder, ``files``: whole with all of theirs."""

    put: int = 0
    sent: int = 0
    taken: int = 0
    bytes: int = 0
    files: int = 0
    failed: int = 0
    left: int = 0
    why: str = ""
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def counts(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in ("why", "errors")}

    def sentence(self) -> str:
        if self.why:
            return self.why
        said = f"{self.taken:,} files were taken from the bucket. " if self.taken else ""
        said += f"{self.sent:,} objects with {self.bytes:,} bytes are in the bucket and confirmed; {self.left:,} wait."
        return said if not self.errors else f"{said} {self.failed:,} failed, such as {self.errors[0]}"


def once(box: Box, *, seconds: float | None = None, flush: bool = False, now: bool = False) -> Synced:
    """One pass; with ``now`` what failed is tried without a pause. Conflict where another is at it, BucketTrouble where
    the store is away, full or refuses the keys; what was confirmed until then is."""
    settings, done = box.settings, Synced()
    if settings.s3_bucket is None:
        raise SettingError("No bucket is set.", "Set s3_bucket; docs/sync.md shows how.")
    pace = Pace.of(settings, lambda: datetime.now(UTC), seconds)
    with exclusive(settings.outbox), runs.recorded(box.engine, "sync", done.counts) as run:
        _sweep(box)
        if not pace.until():
            done.why = f"Copying is allowed between {settings.s3_hours} o'clock."
            run.skip(done.why)
            return done
        try:
            _put(box, done, pace.until, flush=flush)
            if settings.s3_inbox or _anything_due(box, now=now):
                with closing(Bucket(settings, pace)) as bucket:
                    _send_all(box, bucket, done, now=now)
                    if settings.s3_inbox:
                        done.taken = inbox.take(box, bucket)
        finally:
            with engines.transaction(box.engine) as connection:
                done.files = store.settle(connection)
                done.left = store.standing(connection).waiting
            _sweep(box)
        if done.errors:
            run.fail(done.errors[0])
        elif not done.put and not done.sent and not done.taken:
            done.why = (
                "Nothing waits for the bucket." if not done.left else f"{done.left:,} objects wait for their turn."
            )
            run.skip(done.why)
    return done


def watch(box: Box, say: Callable[[str], None]) -> None:
    """Pass after pass, every minute while all is well; after failures in a row the pauses grow, up to an hour."""
    failures = 0
    while True:
        try:
            say(once(box).sentence())
            failures = 0
        except (BucketTrouble, StoreAway, DiskTrouble, Conflict) as trouble:
            failures += 1
            say(str(trouble))
        time.sleep(_WATCH_SECONDS if not failures else max(pause(failures), _WATCH_SECONDS / 2))


def again(box: Box, first: date, last: date) -> int:
    """Have all objects of these days (both included) looked at again by the next pass; their number."""
    with exclusive(box.settings.outbox), engines.transaction(box.engine) as connection:
        return store.again(connection, first, last)


def exclusive(folder: Path, *, wait: bool = False) -> AbstractContextManager[None]:
    """Hold the one lock of the outbox; Conflict where another does, unless that is to be waited for."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    busy = Conflict("Something is being copied already.", "Wait until it is done.")
    return durable.exclusive(folder / ".lock", busy, wait=wait)


def _put(box: Box, done: Synced, go_on: Callable[[], bool], *, flush: bool) -> None:
    with engines.transaction(box.engine) as connection:
        done.put = store.gather(connection)
        # Only one object is tried while the store is away: how much waits is to be known all the same.
        store.weigh(connection, _sizes(box, store.unweighed(connection)))
    exports: dict[str, Callable[[], int]] = {
        "Outcomes": lambda: outbox_export.outcomes(box.settings, box.engine),
        "Predictions": lambda: outbox_export.predictions(box.settings, box.engine, go_on, flush=flush),
    }
    for what, export in exports.items():
        try:
            done.put += export()
        except (ApplianceError, OSError):
            raise
        except Exception as error:
            # What nobody foresaw in some rows must not keep all others on the box.
            log.exception("%s could not be made into files", what)
            done.failed += 1
            done.errors.append(f"{what} could not be made into files ({type(error).__name__}).")


def _sizes(box: Box, paths: Mapping[int, str]) -> dict[int, int]:
    found = {}
    for number, path in paths.items():
        with suppress(OSError):
            found[number] = (box.settings.data_dir / path).lstat().st_size
    return found


def _anything_due(box: Box, *, now: bool) -> bool:
    """Most passes have nothing to send, and need not load what speaks S3."""
    with engines.transaction(box.engine) as connection:
        return bool(store.due(connection, 1, now=now))


def _send_all(box: Box, bucket: Bucket, done: Synced, *, now: bool) -> None:
    after = 0
    while bucket.pace.until():
        with engines.transaction(box.engine) as connection:
            due = store.due(connection, AT_A_TIME, after, now=now)
        if not due:
            return
        for waiting in due:
            after = waiting.id
            try:
                if not bucket.pace.until():
                    return
                done.bytes += outbox_send.send(box, bucket, waiting)
                done.sent += 1
            except outbox_send.Paused:
                return
            except BucketTrouble as trouble:
                store_wide = trouble.reason in STORE_WIDE
                _failed(box, waiting, trouble, done, _LONGEST_WAY_SECONDS if store_wide else None)
                if store_wide:
                    raise
            except OSError as error:
                said = f"{waiting.path} cannot be read ({error.strerror})."
                _failed(box, waiting, BucketTrouble("gone", said, "Look at the box's disk."), done, None)


def _failed(box: Box, waiting: Waiting, trouble: ApplianceError, done: Synced, at_most: float | None) -> None:
    seconds = pause(waiting.tries + 1)
    with engines.transaction(box.engine) as connection:
        store.failed(connection, waiting.id, str(trouble), seconds if at_most is None else min(seconds, at_most))
    done.failed += 1
    done.errors.append(f"{waiting.path}: {trouble}")


def _sweep(box: Box) -> None:
    """Remove files that were made for the bucket and do not wait any more, or were never put in."""
    folder = box.settings.outbox
    with engines.transaction(box.engine) as connection:
        wanted = store.paths(connection, f"{outbox_export.FOLDER}/")
    for path in folder.iterdir():
        if path.name.startswith(_MADE) and f"{outbox_export.FOLDER}/{path.name}" not in wanted:
            path.unlink(missing_ok=True)
