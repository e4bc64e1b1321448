"""Who may do what (tokens), and what was answered already (idempotency keys)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

import psycopg2.errors
from sqlalchemy import Connection, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError, OperationalError

from appliance.errors import Conflict, KeyReused, NotFound, UsageError
from appliance.store import tables as t
from appliance.store.rows import Role, Source

TOKEN_BYTES = 32
# Marks ours among the secrets that a scanner finds in a log or a repository.
TOKEN_PREFIX = "fa_"  # noqa: S105
# How old the note of a token's last use may be before it is renewed: a write per request would be dear.
LAST_USED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    name: str
    role: Role
    source: Source
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_TOKEN = select(
    *(t.token.c[name] for name in ("id", "name", "role", "source")),
    *(t.token.c[name] for name in ("created_at", "expires_at", "revoked_at", "last_used_at")),
)


def create_token(
    conn: Connection,
    name: str,
    role: Role,
    source: Source,
    expires_at: datetime | None = None,
    lifetime: timedelta | None = None,
) -> str:
    """A new token, in plain: it is shown this once, and kept as a hash. Conflict where a valid one has the name.

    It expires at that time, or after ``lifetime`` by the database's clock, or never.
    """
    _check_word("role", role, get_args(Role))
    _check_word("source", source, get_args(Source))
    if not name.strip():
        raise UsageError("A token needs a name.", "Name who uses it, as in lists and ledgers.")
    if lifetime is not None:
        expires_at = conn.execute(select(func.clock_timestamp())).scalar_one() + lifetime
    plain = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    values = {"name": name, "role": role, "source": source, "expires_at": expires_at}
    try:
        with conn.begin_nested():
            conn.execute(insert(t.token).values(**values, hash=_hash(plain)))
    except IntegrityError as error:
        if "ix_token_name" not in str(error.orig):
            raise
        raise Conflict(f"There is a token {name!r} already.", "Revoke it first, or take another name.") from error
    return plain


def adopt_token(conn: Connection, plain: str, name: str, role: Role, source: Source) -> None:
    """Let a token that is known in plain be the one of that name; one that had the name is revoked."""
    if find_token(conn, plain) is not None:
        return
    k = t.token.c
    conn.execute(
        update(t.token).where(k.name == name, k.revoked_at.is_(None)).values(revoked_at=func.clock_timestamp())
    )
    conn.execute(insert(t.token).values(name=name, role=role, source=source, hash=_hash(plain)))


def find_token(conn: Connection, plain: str) -> Token | None:
    """The token, where it is known, not revoked and not expired."""
    k = t.token.c
    # Compared as hashes, by the index: the time that it takes tells nothing about the token.
    row = conn.execute(
        _TOKEN.where(
            k.hash == _hash(plain),
            k.revoked_at.is_(None),
            or_(k.expires_at.is_(None), k.expires_at > func.clock_timestamp()),
        )
    ).first()
    if row is None:
        return None
    # Whoever holds the row is just noting the same; to wait for a long transaction would be silly.
    stale = (
        select(k.id)
        .where(
            k.id == row.id,
            or_(
                k.last_used_at.is_(None),
                k.last_used_at < func.clock_timestamp() - text(f"interval '{LAST_USED_SECONDS} seconds'"),
            ),
        )
        .with_for_update(skip_locked=True)
    )
    conn.execute(update(t.token).where(k.id.in_(stale)).values(last_used_at=func.clock_timestamp()))
    return Token(**row._mapping)


def revoke_token(conn: Connection, name: str) -> None:
    """From the commit on nobody gets in by it. NotFound where no valid token has the name."""
    k = t.token.c
    done = conn.execute(
        update(t.token).where(k.name == name, k.revoked_at.is_(None)).values(revoked_at=func.clock_timestamp())
    )
    if done.rowcount != 1:
        raise NotFound(f"There is no valid token {name!r}.", "`appliance token list` shows them.")


def tokens(conn: Connection) -> list[dict[str, Any]]:
    """All tokens (the fields of :class:`Token`), revoked ones too, oldest first."""
    return [dict(row) for row in conn.execute(_TOKEN.order_by(t.token.c.id)).mappings()]


def recall(conn: Connection, principal: str, key: str, body_hash: str) -> Any | None:
    """What a request with that key was answered; None: it is new, and the key is ours until the transaction ends.

    Call it first in the transaction that predicts, and :func:`remember` last. Another request with the same key waits
    here for our commit and gets our result; should we roll back, the key is its own. KeyReused where the key came with
    another body, Conflict where the other one takes too long.
    """
    r = t.request.c
    statement = upsert(t.request).values(principal=principal, key=key, body_hash=body_hash)
    try:
        with conn.begin_nested():
            mine = conn.execute(statement.on_conflict_do_nothing().returning(r.key)).first()
    except OperationalError as error:
        if not isinstance(error.orig, psycopg2.errors.LockNotAvailable):
            raise
        raise Conflict("The same request is being answered right now.", "Ask again later.") from None
    if mine is not None:
        return None
    found = conn.execute(select(r.body_hash, r.result).where(r.principal == principal, r.key == key)).one()
    if found.body_hash != body_hash:
        raise KeyReused("This idempotency key came with another body before.", "Take a new key for a new request.")
    return found.result


def remember(conn: Connection, principal: str, key: str, body_hash: str, result: Mapping[str, Any]) -> None:
    """Keep what a request is answered, in the transaction of its :func:`recall`."""
    r = t.request.c
    done = conn.execute(
        update(t.request)
        .where(r.principal == principal, r.key == key, r.body_hash == body_hash)
        .values(result=dict(result))
    )
    if done.rowcount != 1:
        raise ValueError("remember() without a recall() of the same key and body")


def forget_requests(conn: Connection, before: datetime) -> int:
    """Delete keys that are older; gives their number."""
    return conn.execute(delete(t.request).where(t.request.c.created_at < before)).rowcount


def _check_word(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise UsageError(f"There is no {what} {word!r}.", f"Take one of {', '.join(words)}.")


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
