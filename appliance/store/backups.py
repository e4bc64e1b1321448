"""The ledger of backups. Their order is that of their numbers: a clock may have been wrong when one was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that is to be there. ``damage``: what is wrong with it; ``drill_error``: why its newest drill failed."""

    id: int
    name: str
    place: str
    made_at: datetime
    bytes: int
    sha256: str
    revision: str
    secrets: bool
    verified_at: datetime | None
    damage: str | None
    drilled_at: datetime | None
    drill_error: str | None


_COLUMNS = ", ".join(field.name for field in fields(Kept))


def there(conn: Connection, place: str = "") -> list[Kept]:
    """Backups that were not removed, the newest first; of one place where it is named."""
    query = text(
        f"SELECT {_COLUMNS} FROM backup WHERE removed_at IS NULL AND (:place = '' OR place = :place)"  # noqa: S608
        " ORDER BY id DESC"
    )
    return [Kept(**row) for row in conn.execute(query, {"place": place}).mappings()]


def keep(
    conn: Connection,
    name: str,
    place: str,
    made_at: datetime,
    size: int,
    sha256: str,
    revision: str,
    *,
    secrets: bool,
    verified: bool,
) -> None:
    """Write a backup down. One that was written down is left as it is."""
    conn.execute(
        text(
            "INSERT INTO backup (name, place, made_at, bytes, sha256, revision, secrets, verified_at) VALUES (:name,"
            " :place, :made_at, :bytes, :sha256, :revision, :secrets, CASE WHEN :verified THEN clock_timestamp() END)"
            " ON CONFLICT (place, name) DO NOTHING"
        ),
        {
            "name": name,
            "place": place,
            "made_at": made_at,
            "bytes": size,
            "sha256": sha256,
            "revision": revision,
            "secrets": secrets,
            "verified": verified,
        },
    )


def verified(conn: Connection, place: str, name: str, damage: str | None) -> None:
    """Every byte was read; None: it is as it was."""
    conn.execute(
        text(
            "UPDATE backup SET verified_at = clock_timestamp(), damage = :damage WHERE place = :place AND name = :name"
        ),
        {"place": place, "name": name, "damage": damage},
    )


def drilled(conn: Connection, place: str, name: str, error: str | None) -> None:
    """It was restored into a throw-away database; None: it came out as it was."""
    conn.execute(
        text(
            "UPDATE backup SET drilled_at = clock_timestamp(), drill_error = :error WHERE place = :place AND name = :name"
        ),
        {"place": place, "name": name, "error": error},
    )


def removed(conn: Connection, place: str, names: Sequence[str]) -> None:
    conn.execute(
        text(
            "UPDATE backup SET removed_at = clock_timestamp()"
            " WHERE place = :place AND name = ANY(:names) AND removed_at IS NULL"
        ),
        {"place": place, "names": list(names)},
    )
