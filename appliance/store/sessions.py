"""Browsers that are signed in, and links that work once: of both only hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, literal, or_, select, update

from appliance.errors import Conflict, NotFound
from appliance.store import journal, users
from appliance.store import tables as t
from appliance.store.rows import Role
from appliance.store.users import USER, User

Purpose = Literal["welcome", "enter"]

_BYTES = 32
LENGTH = 43  # of what a browser holds, in characters
# As for tokens: a write per request would be dear.
_LAST_USED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Session:
    user: User
    expires_at: datetime


def start(conn: Connection, user: User, lifetime: timedelta) -> str:
    """Sign a browser in; gives what it is to hold, in plain. It is always a new one: nobody can hand theirs to others."""
    plain = secrets.token_urlsafe(_BYTES)
    values = {"hash": _hash(plain), "user_id": user.id, "station": user.station}
    conn.execute(insert(t.session).values(**values, expires_at=_in(lifetime)))
    return plain


def find(conn: Connection, plain: str, idle: timedelta) -> Session | None:
    """The session, while it lasts, was used within ``idle`` (a station may rest), and the user is not disabled."""
    s = t.session.c
    row = conn.execute(
        select(*USER, s.expires_at)
        .join_from(t.session, t.user)
        .where(s.hash == _hash(plain), ~t.user.c.disabled, ~_over(idle))
    ).first()
    if row is None:
        return None
    stale = (
        select(s.hash)
        .where(s.hash == _hash(plain), _last_used() < _ago(timedelta(seconds=_LAST_USED_SECONDS)))
        .with_for_update(skip_locked=True)
    )
    conn.execute(update(t.session).where(s.hash.in_(stale)).values(last_used_at=func.clock_timestamp()))
    return Session(_user(row._mapping), row.expires_at)


def end(conn: Connection, plain: str) -> None:
    """Sign that browser out."""
    conn.execute(delete(t.session).where(t.session.c.hash == _hash(plain)))


def end_others(conn: Connection, user: User, plain: str) -> int:
    """Sign the user out everywhere else; gives how many sessions that were."""
    s = t.session.c
    return conn.execute(delete(t.session).where(s.user_id == user.id, s.hash != _hash(plain))).rowcount


def of(conn: Connection, user: User, plain: str, idle: timedelta) -> list[dict[str, Any]]:
    """The user's sessions, ``{created_at, last_used_at, own}``, the last used first; ``own`` is that of ``plain``."""
    s = t.session.c
    statement = (
        select(s.created_at, _last_used().label("last_used_at"), (s.hash == _hash(plain)).label("own"))
        .where(s.user_id == user.id, ~_over(idle))
        .order_by(_last_used().desc())
    )
    return [dict(row) for row in conn.execute(statement).mappings()]


def forget(conn: Connection, idle: timedelta) -> int:
    """Delete sessions that are over and links that are too old; gives their number."""
    s, k = t.session.c, t.link.c
    # Two that do this at once must not wait for each other.
    over = select(s.hash).where(_over(idle)).with_for_update(skip_locked=True)
    old = select(k.hash).where(k.expires_at <= func.clock_timestamp()).with_for_update(skip_locked=True)
    gone = conn.execute(delete(t.session).where(s.hash.in_(over))).rowcount
    return gone + conn.execute(delete(t.link).where(k.hash.in_(old))).rowcount


def make_link(conn: Connection, name: str, purpose: Purpose, lifetime: timedelta) -> str:
    """The path of a link that works once, with its secret; earlier ones of the user for the same end.

    ``welcome`` lets choose a password, ``enter`` signs in without one. NotFound; Conflict for a disabled user.
    """
    user = users.get(conn, name)
    if user.disabled:
        raise Conflict(f"The user {user.name} is disabled.", f"Say `appliance user enable {user.name}` first.")
    k = t.link.c
    conn.execute(delete(t.link).where(k.user_id == user.id, k.purpose == purpose))
    plain = secrets.token_urlsafe(_BYTES)
    values = {"hash": _hash(plain), "user_id": user.id, "purpose": purpose}
    conn.execute(insert(t.link).values(**values, expires_at=_in(lifetime)))
    what = "to choose a password" if purpose == "welcome" else "to be signed in"
    said = f"A link for {user.name} {what} was made."
    journal.event(conn, "user_link", "info", said, {"user": user.name, "purpose": purpose})
    return f"/{purpose}/{plain}"


def entry(conn: Connection, name: str, role: Role, lifetime: timedelta) -> str:
    """The path of a link that opens signed in as a user who is made where missing and has no password: for a demo."""
    if users.find(conn, name) is None:
        users.add(conn, name, role)
    return make_link(conn, name, "enter", lifetime)


def look_at_link(conn: Connection, plain: str, purpose: Purpose) -> User | None:
    """Whose link that is, while it works. It goes on working."""
    found = select(*USER).join_from(t.link, t.user).where(_works(plain, purpose), ~t.user.c.disabled)
    row = conn.execute(found).first()
    return None if row is None else _user(row._mapping)


def use_link(conn: Connection, plain: str, purpose: Purpose) -> User:
    """Whose link that was: from the commit on it works no more. NotFound where it does not work, or no longer."""
    user = look_at_link(conn, plain, purpose)
    if user is None or conn.execute(delete(t.link).where(_works(plain, purpose))).rowcount != 1:
        raise link_is_over()
    return user


def link_is_over() -> NotFound:
    return NotFound(
        "This link does not work any more: each works once, and for a limited time.",
        "Ask an administrator of this appliance for a new one (`appliance user link NAME`).",
    )


def _works(plain: str, purpose: Purpose) -> ColumnElement[bool]:
    k = t.link.c
    return and_(k.hash == _hash(plain), k.purpose == purpose, k.expires_at > func.clock_timestamp())


def _over(idle: timedelta) -> ColumnElement[bool]:
    s = t.session.c
    return or_(s.expires_at <= func.clock_timestamp(), and_(~s.station, _last_used() <= _ago(idle)))


def _last_used() -> ColumnElement[Any]:
    return func.coalesce(t.session.c.last_used_at, t.session.c.created_at)


def _in(lifetime: timedelta) -> ColumnElement[Any]:
    return func.clock_timestamp() + literal(lifetime)


def _ago(span: timedelta) -> ColumnElement[Any]:
    return func.clock_timestamp() - literal(span)


def _user(row: Mapping[Any, Any]) -> User:
    return User(**{column.name: row[column.name] for column in USER})


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
