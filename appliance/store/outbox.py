# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""The ledger of what goes to S3: put in, tried, taken in parts, verified, and sent again.

A file of rows is put in once, by its own number; what never was a file (predictions, outcomes) by
:mod:`appliance.store.export`. Simulated rows stay on the box.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Literal

from sqlalchemy import Connection, text

from appliance.names import DEMO
from appliance.store.rows import Layer

Proof = Literal["checksum", "read"]

# A clock that was set back must not make anything wait for years: no pause is as long as this.
_LONGEST_PAUSE = "interval '2 hours'"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that is to be in the bucket. ``sha256``, ``bucket`` and ``key`` are known once it was tried."""

    id: int
    layer: Layer
    profile_id: int
    profile: str
    file_id: int | None
    model_id: int | None
    day: date
    first_id: int | None
    last_id: int | None
    path: str
    name: str | None  # of the file whose rows these are
    size: int | None
    sha256: str | None
    bucket: str | None
    key: str | None
    part_bytes: int | None
    upload_id: str | None
    tries: int
    tried_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in the bucket and what waits for it. ``error``: why the one that was tried last waits."""

    objects: int
    bytes: int
    waiting: int
    waiting_bytes: int
    oldest: datetime | None
    verified_at: datetime | None  # the newest
    error: str | None
    tries: int  # the most of one that waits


_WAITING = ", ".join(f"o.{f.name}" for f in fields(Waiting) if f.name not in ("profile", "name"))
_FROM = (
    f"SELECT {_WAITING}, p.name AS profile, f.name AS name FROM outbox o"
    " JOIN profile p ON p.id = o.profile_id LEFT JOIN file f ON f.id = o.file_id"
)


def gather(conn: Connection) -> int:
    """Put in the good and bad rows of files that are not there yet; their number."""
    put = text(
        "INSERT INTO outbox (layer, profile_id, file_id, day, path)"
        " SELECT l.layer, f.profile_id, f.id, f.day, l.path FROM file f"
        " CROSS JOIN LATERAL (VALUES ('good', f.rows_good, f.good_path), ('bad', f.rows_bad, f.bad_path))"
        " AS l (layer, rows, path)"
        " WHERE f.state IN ('ingested', 'predicted', 'failed') AND l.rows > 0 AND NOT starts_with(f.origin, :demo)"
        " AND NOT EXISTS (SELECT FROM outbox o WHERE o.file_id = f.id AND o.layer = l.layer) ORDER BY f.id, l.layer DESC"
    )
    return conn.execute(put, {"demo": DEMO}).rowcount


def unweighed(conn: Connection) -> dict[int, str]:
    """Objects that wait and whose size is not known: id -> path below the data folder."""
    query = text("SELECT id, path FROM outbox WHERE verified_at IS NULL AND size IS NULL")
    return {row.id: row.path for row in conn.execute(query)}


def weigh(conn: Connection, sizes: Mapping[int, int]) -> None:
    """Note how large they are."""
    query = text(
        "UPDATE outbox o SET size = n.size FROM unnest(CAST(:ids AS bigint[]), CAST(:sizes AS bigint[]))"
        " AS n (id, size) WHERE o.id = n.id AND o.verified_at IS NULL"
    )
    if sizes:
        conn.execute(query, {"ids": list(sizes), "sizes": list(sizes.values())})


def due(conn: Connection, limit: int, after: int = 0, *, now: bool = False) -> list[Waiting]:
    """Objects whose turn has come, the oldest first; with ``now`` it is everybody's."""
    query = text(
        f"{_FROM} WHERE o.verified_at IS NULL AND o.id > :after AND (:now OR o.next_try_at <= clock_timestamp()"
        f" OR o.next_try_at > clock_timestamp() + {_LONGEST_PAUSE}) ORDER BY o.id LIMIT :limit"
    )
    found = conn.execute(query, {"limit": limit, "after": after, "now": now}).mappings()
    return [Waiting(**row) for row in found]


def tried(conn: Connection, waiting: Waiting) -> None:
    """A try begins: what is sent, and where to, is written down before. A place other than before forgets the parts."""
    values = {name: getattr(waiting, name) for name in ("id", "path", "size", "sha256", "bucket", "key", "part_bytes")}
    conn.execute(
        text(
            "DELETE FROM outbox_part WHERE outbox_id = (SELECT id FROM outbox WHERE id = :id AND (bucket, key, part_bytes)"
            " IS DISTINCT FROM (:bucket, :key, :part_bytes))"
        ),
        values,
    )
    conn.execute(
        text(
            "UPDATE outbox SET upload_id = CASE WHEN (bucket, key, part_bytes) IS DISTINCT FROM"
            " (:bucket, :key, :part_bytes) THEN NULL ELSE upload_id END, path = :path, size = :size, sha256 = :sha256,"
            " bucket = :bucket, key = :key, part_bytes = :part_bytes, tried_at = clock_timestamp() WHERE id = :id"
        ),
        values,
    )


def begun(conn: Connection, outbox_id: int, upload_id: str | None) -> None:
    """An upload in parts was begun, None: was let go of. No part of it is there yet."""
    conn.execute(text("DELETE FROM outbox_part WHERE outbox_id = :id"), {"id": outbox_id})
    conn.execute(text("UPDATE outbox SET upload_id = :upload WHERE id = :id"), {"id": outbox_id, "upload": upload_id})


def took(conn: Connection, outbox_id: int, number: int, sha256: str, etag: str) -> None:
    """The store took a part."""
    conn.execute(
        text(
            "INSERT INTO outbox_part (outbox_id, number, sha256, etag) VALUES (:id, :number, :sha256, :etag)"
            " ON CONFLICT (outbox_id, number) DO UPDATE SET sha256 = excluded.sha256, etag = excluded.etag"
        ),
        {"id": outbox_id, "number": number, "sha256": sha256, "etag": etag},
    )


def parts(conn: Connection, outbox_id: int) -> dict[int, tuple[str, str]]:
    """Parts that the store took: number -> SHA-256, ETag."""
    found = conn.execute(
        text("SELECT number, sha256, etag FROM outbox_part WHERE outbox_id = :id ORDER BY number"), {"id": outbox_id}
    )
    return {row.number: (row.sha256, row.etag) for row in found}


def verified(conn: Connection, outbox_id: int, proof: Proof, etag: str) -> None:
    """The store confirmed the SHA-256 of what it has."""
    conn.execute(text("DELETE FROM outbox_part WHERE outbox_id = :id"), {"id": outbox_id})
    conn.execute(
        text(
            "UPDATE outbox SET verified_at = clock_timestamp(), proof = :proof, etag = :etag, upload_id = NULL,"
            " error = NULL WHERE id = :id"
        ),
        {"id": outbox_id, "proof": proof, "etag": etag},
    )


def failed(conn: Connection, outbox_id: int, error: str, seconds: float) -> None:
    """A try came to nothing; the next one is not before so many seconds."""
    conn.execute(
        text(
            "UPDATE outbox SET tries = tries + 1, error = :error, tried_at = clock_timestamp(),"
            " next_try_at = clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id AND verified_at IS NULL"
        ),
        {"id": outbox_id, "error": error, "seconds": seconds},
    )


def settle(conn: Connection) -> int:
    """Mark predicted files as synced once their rows and all their predictions are verified; their number."""
    marked = text(
        "UPDATE file f SET state = 'synced' WHERE f.state = 'predicted' AND NOT starts_with(f.origin, :demo)"
        " AND (SELECT count(*) FROM outbox o WHERE o.file_id = f.id AND o.verified_at IS NOT NULL)"
        " = (f.rows_good > 0)::int + (f.rows_bad > 0)::int"
        " AND NOT EXISTS (SELECT FROM part p WHERE p.file_id = f.id AND (p.state <> 'predicted' OR p.last_id >"
        " coalesce((SELECT last_id FROM outbox_mark WHERE layer = 'predictions'), 0)"
        " OR EXISTS (SELECT FROM outbox o WHERE o.layer = 'predictions' AND o.verified_at IS NULL"
        " AND o.first_id <= p.last_id AND o.last_id >= p.first_id)))"
    )
    return conn.execute(marked, {"demo": DEMO}).rowcount


def again(conn: Connection, first: date, last: date) -> int:
    """Have the objects of these days (both included) looked at again, and sent where they are not as they were; their
    number. Until then their files count as not synced."""
    days = {"first": first, "last": last}
    conn.execute(
        text(
            "UPDATE file SET state = 'predicted' WHERE state = 'synced' AND id IN"
            " (SELECT file_id FROM outbox WHERE day BETWEEN :first AND :last AND file_id IS NOT NULL)"
        ),
        days,
    )
    # A file has its predictions in other days' objects too.
    conn.execute(
        text(
            "UPDATE file SET state = 'predicted' WHERE state = 'synced' AND id IN (SELECT p.file_id FROM part p"
            " JOIN outbox o ON o.layer = 'predictions' AND o.first_id <= p.last_id AND o.last_id >= p.first_id"
            " WHERE o.day BETWEEN :first AND :last)"
        ),
        days,
    )
    return conn.execute(
        text(
            "UPDATE outbox SET verified_at = NULL, proof = NULL, etag = NULL, tries = 0, error = NULL,"
            " next_try_at = clock_timestamp() WHERE day BETWEEN :first AND :last"
        ),
        days,
    ).rowcount


def paths(conn: Connection, prefix: str) -> set[str]:
    """Files below the data folder that begin so and still wait to be sent."""
    query = text("SELECT path FROM outbox WHERE verified_at IS NULL AND starts_with(path, :prefix)")
    return set(conn.execute(query, {"prefix": prefix}).scalars())


def backlog(conn: Connection) -> dict[str, float]:
    """Figures of what waits, for once a minute: objects, bytes, seconds of the oldest."""
    query = text(
        "SELECT waiting AS bucket_waiting, waiting_bytes AS bucket_waiting_bytes,"
        " coalesce(oldest_seconds, 0) AS bucket_waiting_seconds FROM report.bucket"
    )
    return {name: float(value) for name, value in conn.execute(query).mappings().one().items()}


def standing(conn: Connection) -> Standing:
    row = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE verified_at IS NOT NULL) AS objects,"
            " coalesce(sum(size) FILTER (WHERE verified_at IS NOT NULL), 0)::bigint AS bytes,"
            " count(*) FILTER (WHERE verified_at IS NULL) AS waiting,"
            " coalesce(sum(size) FILTER (WHERE verified_at IS NULL), 0)::bigint AS waiting_bytes,"
            " min(created_at) FILTER (WHERE verified_at IS NULL) AS oldest, max(verified_at) AS verified_at,"
            " (SELECT error FROM outbox WHERE verified_at IS NULL AND error IS NOT NULL ORDER BY tried_at DESC LIMIT 1)"
            " AS error, coalesce(max(tries) FILTER (WHERE verified_at IS NULL), 0) AS tries FROM outbox"
        )
    ).one()
    return Standing(**row._mapping)
