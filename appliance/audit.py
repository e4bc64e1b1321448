"""Proves that the bucket has what the ledger says, and says of each day what that was, signed.

Both are walked in the order of their keys, side by side: memory does not grow with their number. What the store lists
(size and ETag) is compared with what it had when it confirmed the SHA-256; with ``read`` every object is read back, and
every file on this box too. A day without a difference gets a manifest in the bucket: count, bytes, and the hash of
every object, signed by a key that only this box has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from appliance import runs, statements
from appliance.bucket import Bucket, Listed, place
from appliance.outbox import exclusive
from appliance.outbox_send import digest_of
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import journal, manifests, outbox, retention
from appliance.store.manifests import Kept

LAYERS = ("good", "bad", "predictions", "outcomes")
# In the book and in messages; all of them are in the answer.
TOLD = 20
_BLOCK = 8 << 20

Kind = Literal["missing", "differs", "unknown", "changed", "gone", "elsewhere", "manifest"]
_SAID: Mapping[Kind, str] = {
    "missing": "is not in the bucket",
    "differs": "is another in the bucket than was confirmed",
    "unknown": "is in the bucket, and the ledger does not know it",
    "changed": "is another on this box than was copied",
    "gone": "was copied, and is not on this box any more",
    "elsewhere": "holds copies of this box, and is not the bucket that is set",
    "manifest": "is not the manifest that this box signed",
}


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Kind
    what: str

    @property
    def sentence(self) -> str:
        return f"{self.what} {_SAID[self.kind]}."


@dataclass(slots=True)
class Audited:
    """``objects`` and ``bytes``: of the ledger, in this bucket. ``waiting`` is no difference: it is known not to be there."""

    objects: int = 0
    bytes: int = 0
    waiting: int = 0
    manifests: int = 0
    differences: list[Difference] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        return {
            "objects": self.objects,
            "bytes": self.bytes,
            "waiting": self.waiting,
            "manifests": self.manifests,
            "differences": len(self.differences),
        }

    def as_dict(self) -> dict[str, Any]:
        listed = [{**asdict(one), "sentence": one.sentence} for one in self.differences]
        return self.counts() | {"differences": listed}

    def sentence(self) -> str:
        wrong = len(self.differences)
        said = "no difference" if not wrong else "1 difference" if wrong == 1 else f"{wrong:,} differences"
        return f"{self.objects:,} objects with {self.bytes:,} bytes: {said}; {self.waiting:,} more to be copied."


def run(box: Box, *, read: bool = False) -> Audited:
    """Compare all of it; BucketTrouble where the store is away, Conflict where a pass is copying."""
    settings, done = box.settings, Audited()
    with exclusive(settings.outbox, wait=True), runs.recorded(box.engine, "audit", done.counts) as noted:
        bucket = Bucket(settings)
        try:
            spoiled = _compare(box, bucket, done, read=read)
            wrong = _check_manifests(box, bucket, done, read=read)
            _write_manifests(box, bucket, done, spoiled, wrong)
        finally:
            bucket.close()
        if done.differences:
            _tell(box, done)
            noted.fail(f"{done.sentence()} {done.differences[0].sentence}")
    return done


def _compare(box: Box, bucket: Bucket, done: Audited, *, read: bool) -> set[date]:
    """Every difference; the days that have some."""
    settings, here = box.settings, place(box.settings)
    spoiled: set[date] = set()
    with engines.transaction(box.engine) as connection:
        done.waiting = outbox.standing(connection).waiting
        done.differences += [Difference("elsewhere", name) for name in manifests.elsewhere(connection, here)]
        prefixes = manifests.prefixes(connection, here)
        tried = manifests.tried(connection, here)
    for layer in LAYERS:
        folders = bucket.folders(f"{settings.s3_prefix}layer={layer}/")
        prefixes |= {f"{folder}site={settings.site}/" for folder in folders}
    for prefix in sorted(prefixes):
        for kept, listed in _side_by_side(manifests.kept(box.engine, here, prefix), bucket.objects(prefix)):
            if kept is None:
                if listed is not None and listed.key not in tried:
                    done.differences.append(Difference("unknown", listed.key))
                continue
            done.objects += 1
            done.bytes += kept.size
            if wrong := list(_wrong(settings, bucket, kept, listed, read=read)):
                done.differences += wrong
                spoiled.add(kept.day)
    return spoiled


def _side_by_side(ledger: Iterator[Kept], there: Iterator[Listed]) -> Iterator[tuple[Kept | None, Listed | None]]:
    """Both in the order of their keys' bytes; None where one has no such key."""
    kept, listed = next(ledger, None), next(there, None)
    while kept is not None or listed is not None:
        mine = None if kept is None else kept.key.encode()
        its = None if listed is None else listed.key.encode()
        if its is None or (mine is not None and mine < its):
            yield kept, None
            kept = next(ledger, None)
        elif mine is None or its < mine:
            yield None, listed
            listed = next(there, None)
        else:
            yield kept, listed
            kept, listed = next(ledger, None), next(there, None)


def _wrong(
    settings: Settings, bucket: Bucket, kept: Kept, listed: Listed | None, *, read: bool
) -> Iterator[Difference]:
    if listed is None:
        yield Difference("missing", kept.key)
    elif (listed.size, listed.etag) != (kept.size, kept.etag) or (read and _read(bucket, kept.key) != kept.sha256):
        yield Difference("differs", kept.key)
    if kept.layer not in ("good", "bad") or kept.file_state == "evicted":
        return
    path = settings.data_dir / kept.path
    if not path.is_file():
        yield Difference("gone", kept.path)
    elif path.stat().st_size != kept.size or (read and _hash(path) != kept.sha256):
        yield Difference("changed", kept.path)


def _check_manifests(box: Box, bucket: Bucket, done: Audited, *, read: bool) -> set[str]:
    """The keys of manifests that are not there, are not ours, or name what the ledger has no more.

    Read are those that are not as they were written down: one may be ours all the same, whose writer was killed.
    """
    folder = _folder(box.settings)
    with engines.transaction(box.engine) as connection:
        known = manifests.signed(connection, place(box.settings))
    there = {listed.key: listed.etag for listed in bucket.objects(folder)}
    wrong = set()
    for key in sorted(known.keys() | there.keys()):
        as_it_was = known.get(key) == there.get(key) and not read
        if not as_it_was and (key not in there or not _holds(box, bucket, key)):
            done.differences.append(Difference("manifest", key))
            wrong.add(key)
    return wrong


def _holds(box: Box, bucket: Bucket, key: str) -> bool:
    """Whether a manifest bears our signature, and the ledger still has every object that it names."""
    try:
        said = statements.opened(b"".join(bucket.read(key)), statements.public_key(box.settings))
    except ValueError:
        return False
    with engines.transaction(box.engine) as connection:
        listed = manifests.of_day(connection, place(box.settings), date.fromisoformat(said["day"]), verified=False)
    now = {(one.key, one.size, one.sha256) for one in listed}
    return all((one["key"], one["bytes"], one["sha256"]) in now for one in said["objects"])


def _write_manifests(box: Box, bucket: Bucket, done: Audited, spoiled: set[date], wrong: set[str]) -> None:
    """One for each day of which more was copied since its last one, or whose last one is wrong, where the day itself has
    no difference."""
    settings, here = box.settings, place(box.settings)
    with engines.transaction(box.engine) as connection:
        days = set(manifests.days_to_sign(connection, here)) | manifests.days_of(connection, here, wrong)
    for day in sorted(days - spoiled):
        with engines.transaction(box.engine) as connection:
            kept = manifests.of_day(connection, here, day, verified=True)
            now = retention.now_of(connection)
        objects = [{"key": one.key, "bytes": one.size, "sha256": one.sha256} for one in kept]
        said: dict[str, Any] = {
            "site": settings.site,
            "bucket": here,
            "day": day.isoformat(),
            "made_at": now.isoformat(),
            "count": len(kept),
            "bytes": sum(one.size for one in kept),
            "objects": objects,
        }
        data = statements.envelope(settings, said)
        key = f"{_folder(settings)}date={day.isoformat()}.json"
        bucket.put(key, data, hashlib.sha256(data).digest())
        found = bucket.head(key)
        if found is None or found.size != len(data):
            done.differences.append(Difference("manifest", key))
            continue
        with engines.transaction(box.engine) as connection:
            manifests.keep(connection, here, day, key, found.etag, len(kept), said["bytes"], now)
        done.manifests += 1


def _folder(settings: Settings) -> str:
    """A name that begins so is passed over by what reads the layers as tables."""
    return f"{settings.s3_prefix}_manifest/site={settings.site}/"


def _tell(box: Box, done: Audited) -> None:
    names = [one.sentence for one in done.differences[:TOLD]]
    with engines.transaction(box.engine) as connection:
        message = f"The bucket is not what the ledger says: {len(done.differences):,} differences, such as: {names[0]}"
        journal.event_once(connection, "audit_differs", "error", message, {"differences": names})


def _read(bucket: Bucket, key: str) -> str:
    seen = hashlib.sha256()
    for block in bucket.read(key):
        seen.update(block)
    return seen.hexdigest()


def _hash(path: Path) -> str:
    digest = digest_of(path, _BLOCK)
    return "" if digest is None else digest.sha256.hex()
