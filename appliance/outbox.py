"""What waits for S3, and its way there: good rows, bad rows, predictions and outcomes.

A pass puts into the ledger what came since the last one, then sends what waits, the oldest first. Whatever ends it, the
next one goes on: before a try it is written down what is sent where; parts that the store took are not sent again; and
only when the store has told the SHA-256 of what it has, or has let it be read back, is an object marked as verified. A
key says the content, so that doing it again can only put the same bytes under the same name.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from appliance import inbox, outbox_export, runs
from appliance.bucket import Bucket, UploadGone, place, tells
from appliance.errors import ApplianceError, BucketTrouble, Conflict, SettingError, StoreAway
from appliance.pace import Pace, pause
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import outbox as store
from appliance.store.outbox import Proof, Waiting

log = logging.getLogger(__name__)

AT_A_TIME = 100
# What is wrong with the store is wrong for all: the pass ends. One object may also be all that is wrong, so it makes
# way for the others, though not for long.
STORE_WIDE = ("away", "denied", "full")
_LONGEST_WAY_SECONDS = 600.0
_WATCH_SECONDS = 60.0
_BLOCK = 1 << 20
_MIB = 1 << 20
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


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 of a file and of each of its parts, and the parts' MD5, which ETags are made of. A file has a part at least."""

    size: int
    sha256: bytes
    parts: list[bytes]
    md5s: list[bytes]


class _Paused(Exception):
    """The hours or the time of the pass are over."""


def once(box: Box, *, seconds: float | None = None, flush: bool = False) -> Synced:
    """One pass. Conflict where another is at it, BucketTrouble where the store is away, full or refuses the keys;
    what was confirmed until then is."""
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
            if settings.s3_inbox or _anything_due(box):
                with closing(Bucket(settings, pace)) as bucket:
                    _send_all(box, bucket, done)
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
        except (BucketTrouble, StoreAway, Conflict) as trouble:
            failures += 1
            say(str(trouble))
        time.sleep(_WATCH_SECONDS if not failures else max(pause(failures), _WATCH_SECONDS / 2))


def again(box: Box, first: date, last: date) -> int:
    """Have all objects of these days (both included) looked at again by the next pass; their number."""
    with exclusive(box.settings.outbox), engines.transaction(box.engine) as connection:
        return store.again(connection, first, last)


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the one lock of the outbox; Conflict where another does, unless that is to be waited for. It goes with the
    process."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("Something is being copied already.", "Wait until it is done.") from None
        yield
    finally:
        os.close(descriptor)


def key_of(settings: Settings, waiting: Waiting, sha256: bytes) -> str:
    """Its key in the bucket. The content's hash is part of it: never does one content take the place of another."""
    match waiting.layer:
        case "good" | "bad":
            name = str(waiting.file_id)
        case "predictions":
            name = f"{waiting.first_id}-{waiting.last_id}-{waiting.model_id}"
        case "outcomes":
            name = str(waiting.id)
    suffix = ".csv" if waiting.layer == "bad" else ".parquet"
    folder = f"layer={waiting.layer}/profile={waiting.profile}/site={settings.site}/date={waiting.day.isoformat()}"
    return f"{settings.s3_prefix}{folder}/{name}-{sha256.hex()[:12]}{suffix}"


def digest_of(path: Path, part_bytes: int) -> Digest | None:
    """Read the file through; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    total, size = hashlib.sha256(), 0
    parts: list[bytes] = []
    md5s: list[bytes] = []
    with os.fdopen(descriptor, "rb") as file:
        block = file.read(min(_BLOCK, part_bytes))
        while block or not parts:
            part, md5, left = hashlib.sha256(), hashlib.md5(usedforsecurity=False), part_bytes
            while block:
                for each in (total, part, md5):
                    each.update(block)
                size, left = size + len(block), left - len(block)
                block = file.read(min(_BLOCK, left)) if left else b""
            parts.append(part.digest())
            md5s.append(md5.digest())
            block = file.read(min(_BLOCK, part_bytes))
    return Digest(size, total.digest(), parts, md5s)


def confirmed(bucket: Bucket, key: str, digest: Digest) -> tuple[Proof, str] | None:
    """How the store proves that it has these bytes, and its ETag; None where it has none, or others."""
    found = bucket.head(key)
    if found is None or found.size != digest.size:
        return None
    if tells(found, digest.sha256, digest.parts, digest.md5s):
        return "checksum", found.etag
    # A store that keeps no SHA-256, or tells one that does not fit, has to show what it has.
    return ("read", found.etag) if _read(bucket, key) == digest.sha256 else None


def _read(bucket: Bucket, key: str) -> bytes:
    """SHA-256 of what the store gives back."""
    seen = hashlib.sha256()
    for block in bucket.read(key):
        bucket.pace.take(len(block))
        seen.update(block)
    return seen.digest()


def _put(box: Box, done: Synced, go_on: Callable[[], bool], *, flush: bool) -> None:
    with engines.transaction(box.engine) as connection:
        done.put = store.gather(connection)
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


def _anything_due(box: Box) -> bool:
    """Most passes have nothing to send, and need not load what speaks S3."""
    with engines.transaction(box.engine) as connection:
        return bool(store.due(connection, 1))


def _send_all(box: Box, bucket: Bucket, done: Synced) -> None:
    after = 0
    while bucket.pace.until():
        with engines.transaction(box.engine) as connection:
            due = store.due(connection, AT_A_TIME, after)
        if not due:
            return
        for waiting in due:
            after = waiting.id
            try:
                if not bucket.pace.until():
                    return
                _send(box, bucket, waiting, done)
            except _Paused:
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


def _send(box: Box, bucket: Bucket, waiting: Waiting, done: Synced) -> None:
    """Bring one object into the bucket and have it confirmed."""
    settings = box.settings
    part_bytes = waiting.part_bytes or settings.s3_part_mb * _MIB
    digest = digest_of(settings.data_dir / waiting.path, part_bytes)
    if digest is None:
        if _is_there(box, bucket, waiting, done):
            return
        if not outbox_export.once_more(settings, box.engine, waiting):
            said = f"{waiting.path} is not on this box any more, and not in the bucket as it was."
            raise BucketTrouble("gone", said, "Bring it back from a backup.")
        digest = digest_of(settings.data_dir / waiting.path, part_bytes)
        assert digest is not None
    elif waiting.sha256 not in (None, digest.sha256.hex()):
        said = f"{waiting.path} is not what it was when it was first read."
        raise BucketTrouble("changed", said, "The disk may be failing; bring the file back from a backup.")
    key = key_of(settings, waiting, digest.sha256)
    tried = replace(
        waiting,
        size=digest.size,
        sha256=digest.sha256.hex(),
        bucket=place(settings),
        key=key,
        part_bytes=part_bytes,
        upload_id=waiting.upload_id if (waiting.bucket, waiting.key) == (place(settings), key) else None,
    )
    with engines.transaction(box.engine) as connection:
        store.tried(connection, tried)
    # What an earlier try had brought over, should it have died before it was told so.
    proof = confirmed(bucket, key, digest) if waiting.tried_at is not None else None
    if proof is None:
        _upload(box, bucket, tried, digest)
        proof = confirmed(bucket, key, digest)
    if proof is None:
        with engines.transaction(box.engine) as connection:
            store.begun(connection, waiting.id, None)
        raise BucketTrouble("digest", "The store confirms other bytes than were sent.", "It is sent again.")
    _verified(box, waiting, proof, digest.size, done)


def _is_there(box: Box, bucket: Bucket, waiting: Waiting, done: Synced) -> bool:
    """Whether the bucket has what the ledger says, where the box has it no more."""
    if waiting.key is None or waiting.sha256 is None or waiting.size is None or waiting.bucket != place(box.settings):
        return False
    found = bucket.head(waiting.key)
    if found is None or found.size != waiting.size:
        return False
    # Of its parts' checksums none is left to compare with: it is read.
    if _read(bucket, waiting.key).hex() != waiting.sha256:
        return False
    _verified(box, waiting, ("read", found.etag), waiting.size, done)
    return True


def _verified(box: Box, waiting: Waiting, proof: tuple[Proof, str], size: int, done: Synced) -> None:
    with engines.transaction(box.engine) as connection:
        store.verified(connection, waiting.id, *proof)
    done.sent += 1
    done.bytes += size


def _upload(box: Box, bucket: Bucket, waiting: Waiting, digest: Digest) -> None:
    assert waiting.key is not None
    said = {"sha256": digest.sha256.hex()} | ({"name": waiting.name} if waiting.name else {})
    if len(digest.parts) == 1:
        data = (box.settings.data_dir / waiting.path).read_bytes()
        bucket.put(waiting.key, data, digest.sha256, metadata=said)
        return
    try:
        _in_parts(box, bucket, waiting, digest, said)
    except UploadGone:
        # The store cleared it away: from the beginning, once.
        try:
            _in_parts(box, bucket, replace(waiting, upload_id=None), digest, said)
        except UploadGone:
            raise BucketTrouble("refused", "The store forgets uploads in parts.", "See its rules for them.") from None


def _in_parts(box: Box, bucket: Bucket, waiting: Waiting, digest: Digest, said: dict[str, str]) -> None:
    assert waiting.key is not None
    assert waiting.part_bytes is not None
    upload, there = waiting.upload_id, {}
    if upload is None:
        # Begun by a try that was killed before it could write that down.
        for left in bucket.uploads(waiting.key):
            bucket.abort(waiting.key, left)
        upload = bucket.begin(waiting.key, metadata=said)
        with engines.transaction(box.engine) as connection:
            store.begun(connection, waiting.id, upload)
    else:
        with engines.transaction(box.engine) as connection:
            there = store.parts(connection, waiting.id)
    parts: dict[int, tuple[bytes, str]] = {}
    with (box.settings.data_dir / waiting.path).open("rb") as file:
        for number, sha256 in enumerate(digest.parts, 1):
            known, etag = there.get(number, ("", ""))
            if known != sha256.hex():
                if not bucket.pace.until():
                    raise _Paused
                file.seek((number - 1) * waiting.part_bytes)
                etag = bucket.put_part(waiting.key, upload, number, file.read(waiting.part_bytes), sha256)
                with engines.transaction(box.engine) as connection:
                    store.took(connection, waiting.id, number, sha256.hex(), etag)
            parts[number] = (sha256, etag)
    bucket.complete(waiting.key, upload, parts)


def _sweep(box: Box) -> None:
    """Remove files that were made for the bucket and do not wait any more, or were never put in."""
    folder = box.settings.outbox
    with engines.transaction(box.engine) as connection:
        wanted = store.paths(connection, f"{outbox_export.FOLDER}/")
    for path in folder.iterdir():
        if path.name.startswith(_MADE) and f"{outbox_export.FOLDER}/{path.name}" not in wanted:
            path.unlink(missing_ok=True)
