"""Which objects of the bucket were brought into the drop folder, and which are no files."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from appliance.store import journal


def known(conn: Connection, bucket: str, keys: Sequence[str]) -> set[tuple[str, str]]:
    """(key, ETag) of those of these objects that were dealt with."""
    query = text("SELECT key, etag FROM inbox WHERE bucket = :bucket AND key = ANY(:keys)")
    found = conn.execute(query, {"bucket": bucket, "keys": list(keys)})
    return {(row.key, row.etag) for row in found}


def took(conn: Connection, bucket: str, key: str, etag: str, size: int, path: str | None, refusal: str) -> None:
    """It lies in the drop folder at ``path``, or is refused, which is an event."""
    conn.execute(
        text(
            "INSERT INTO inbox (bucket, key, etag, size, path, refusal)"
            " VALUES (:bucket, :key, :etag, :size, :path, :refusal) ON CONFLICT DO NOTHING"
        ),
        {"bucket": bucket, "key": key, "etag": etag, "size": size, "path": path, "refusal": refusal or None},
    )
    if refusal:
        said = f"{key} in the bucket is not taken. {refusal}"
        journal.event(conn, "inbox_refused", "warning", said, {"key": key})
