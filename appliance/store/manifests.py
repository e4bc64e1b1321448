"""What the bucket is to hold, for who compares the two, and which days were signed for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Engine, text

from appliance.store.engine import transaction
from appliance.store.rows import Layer

PAGE = 1_000
_KEPT = (
    "SELECT o.layer, o.day, o.path, o.key, o.size, o.sha256, o.etag, f.state AS file_state FROM outbox o"
    " LEFT JOIN file f ON f.id = o.file_id WHERE o.bucket = :bucket"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that the store confirmed."""

    layer: Layer
    day: date
    path: str
    key: str
    size: int
    sha256: str
    etag: str | None
    file_state: str | None


def elsewhere(conn: Connection, bucket: str) -> list[str]:
    """Other buckets that hold verified objects."""
    query = "SELECT DISTINCT bucket FROM outbox WHERE verified_at IS NOT NULL AND bucket <> :bucket ORDER BY 1"
    return list(conn.execute(text(query), {"bucket": bucket}).scalars())


def prefixes(conn: Connection, bucket: str) -> set[str]:
    """What the keys of verified objects begin with, up to their days."""
    query = (
        r"SELECT DISTINCT regexp_replace(key, 'date=[^/]*/[^/]*$', '') FROM outbox"
        " WHERE verified_at IS NOT NULL AND bucket = :bucket"
    )
    return set(conn.execute(text(query), {"bucket": bucket}).scalars())


def tried(conn: Connection, bucket: str) -> set[str]:
    """Keys of objects that may be in the bucket and are not confirmed yet."""
    query = "SELECT key FROM outbox WHERE verified_at IS NULL AND bucket = :bucket AND key IS NOT NULL"
    return set(conn.execute(text(query), {"bucket": bucket}).scalars())


def kept(engine: Engine, bucket: str, prefix: str) -> Iterator[Kept]:
    """Verified objects under a prefix, in the order of their keys' bytes; page after page, each in a transaction of its
    own."""
    query = text(
        f"{_KEPT} AND o.verified_at IS NOT NULL AND o.key > :after AND starts_with(o.key, :prefix)"
        " ORDER BY o.key LIMIT :page"
    )
    after = prefix
    while True:
        asked = {"bucket": bucket, "prefix": prefix, "after": after, "page": PAGE}
        with transaction(engine) as connection:
            page = [Kept(**row) for row in connection.execute(query, asked).mappings()]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].key


def of_day(conn: Connection, bucket: str, day: date, *, verified: bool) -> list[Kept]:
    """Objects of a day, in the order of their keys; without ``verified`` those too that are to be confirmed again."""
    only = "AND o.verified_at IS NOT NULL" if verified else "AND o.key IS NOT NULL"
    query = text(f"{_KEPT} AND o.day = :day {only} ORDER BY o.key")
    return [Kept(**row) for row in conn.execute(query, {"bucket": bucket, "day": day}).mappings()]


def days_to_sign(conn: Connection, bucket: str) -> list[date]:
    """Days of which other objects are confirmed than when their manifest was written, or that have none."""
    query = text(
        "SELECT o.day FROM outbox o LEFT JOIN manifest m ON m.bucket = o.bucket AND m.day = o.day"
        " WHERE o.verified_at IS NOT NULL AND o.bucket = :bucket GROUP BY o.day, m.objects, m.bytes, m.made_at"
        " HAVING (count(*), sum(o.size)) IS DISTINCT FROM (m.objects, m.bytes::numeric)"
        " OR max(o.verified_at) > m.made_at ORDER BY 1"
    )
    return list(conn.execute(query, {"bucket": bucket}).scalars())


def days_of(conn: Connection, bucket: str, keys: Iterable[str]) -> set[date]:
    """The days of these manifests, as far as they were written by this box."""
    query = text("SELECT day FROM manifest WHERE bucket = :bucket AND key = ANY(:keys)")
    return set(conn.execute(query, {"bucket": bucket, "keys": list(keys)}).scalars())


def signed(conn: Connection, bucket: str) -> dict[str, str]:
    """The manifests that were written into a bucket: key -> ETag."""
    found = conn.execute(text("SELECT key, etag FROM manifest WHERE bucket = :bucket"), {"bucket": bucket})
    return {row.key: row.etag for row in found}


def keep(
    conn: Connection, bucket: str, day: date, key: str, etag: str, objects: int, size: int, made_at: datetime
) -> None:
    conn.execute(
        text(
            "INSERT INTO manifest (bucket, day, key, etag, objects, bytes, made_at)"
            " VALUES (:bucket, :day, :key, :etag, :objects, :bytes, :at) ON CONFLICT (bucket, day) DO UPDATE SET"
            " key = excluded.key, etag = excluded.etag, objects = excluded.objects, bytes = excluded.bytes,"
            " made_at = excluded.made_at"
        ),
        {"bucket": bucket, "day": day, "key": key, "etag": etag, "objects": objects, "bytes": size, "at": made_at},
    )
