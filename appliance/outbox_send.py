"""One object on its way into the bucket: read, sent whole or in parts, and confirmed by the store."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import outbox_export
from appliance.bucket import Bucket, UploadGone, place, tells
from appliance.errors import BucketTrouble
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import outbox as store
from appliance.store.outbox import Proof, Waiting

_BLOCK = 1 << 20
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 of a file and of each of its parts, and the parts' MD5, which ETags are made of. A file has a part at least."""

    size: int
    sha256: bytes
    parts: list[bytes]
    md5s: list[bytes]


class Paused(Exception):
    """The hours or the time of the pass are over."""


def send(box: Box, bucket: Bucket, waiting: Waiting) -> int:
    """Bring one object into the bucket and have it confirmed; its bytes. BucketTrouble, OSError, Paused: it waits on."""
    settings = box.settings
    part_bytes = waiting.part_bytes or settings.s3_part_mb * MIB
    digest = digest_of(settings.data_dir / waiting.path, part_bytes)
    if digest is None:
        size = _is_there(box, bucket, waiting)
        if size is not None:
            return size
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
    return _verified(box, waiting, proof, digest.size)


def _is_there(box: Box, bucket: Bucket, waiting: Waiting) -> int | None:
    """The bytes of what the bucket has as the ledger says, where the box has it no more; None where it has not."""
    if waiting.key is None or waiting.sha256 is None or waiting.size is None or waiting.bucket != place(box.settings):
        return None
    found = bucket.head(waiting.key)
    if found is None or found.size != waiting.size:
        return None
    # Of its parts' checksums none is left to compare with: it is read.
    if _read(bucket, waiting.key).hex() != waiting.sha256:
        return None
    return _verified(box, waiting, ("read", found.etag), waiting.size)


def _verified(box: Box, waiting: Waiting, proof: tuple[Proof, str], size: int) -> int:
    with engines.transaction(box.engine) as connection:
        store.verified(connection, waiting.id, *proof)
    return size


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
                    raise Paused
                file.seek((number - 1) * waiting.part_bytes)
                etag = bucket.put_part(waiting.key, upload, number, file.read(waiting.part_bytes), sha256)
                with engines.transaction(box.engine) as connection:
                    store.took(connection, waiting.id, number, sha256.hex(), etag)
            parts[number] = (sha256, etag)
    bucket.complete(waiting.key, upload, parts)


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
