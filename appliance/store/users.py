"""People, and stations that several share: who they are, what they may, and how often a password was guessed wrong.

Passwords come here as hashes alone (:mod:`appliance.passwords`); sessions and links are in
:mod:`appliance.store.sessions`. What changes a user's rights is an event.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, case, delete, extract, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from appliance.errors import Conflict, NotFound, UsageError
from appliance.store import journal
from appliance.store import tables as t
from appliance.store.rows import Role

FIRST = "admin"

# Typed on phones and tablets, shown in ledgers, written into headers and logs.
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_STATION_ROLES: tuple[Role, ...] = ("viewer", "operator")

# Wrong passwords in a row that cost nothing; each further one doubles the time in which none is looked at.
_FREE_TRIES = 4
_FIRST_LOCK_SECONDS = 30
LONGEST_LOCK_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    role: Role
    station: bool
    disabled: bool
    has_password: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Try:
    """A password that is about to be looked at: the ``tries``-th in a row. ``wait``: seconds in which none is; 0: look."""

    user: User
    password_hash: str | None
    tries: int
    wait: int


_u = t.user.c
USER: tuple[ColumnElement[Any], ...] = (
    *(_u[name] for name in ("id", "name", "role", "station", "disabled")),
    _u.password_hash.is_not(None).label("has_password"),
    *(_u[name] for name in ("created_at", "last_login_at")),
)


def folded(name: str) -> str:
    """A name as it is kept: phones like to begin with a capital."""
    return name.strip().lower()


def add(conn: Connection, name: str, role: Role, *, station: bool = False) -> User:
    """A new user, who cannot sign in before a link was used. UsageError for a name or role that cannot be, Conflict."""
    name = folded(name)
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            "A user's name is made of up to 64 letters from a to z, digits, and . _ @ -",
            "Take one like anna, anna@plant.example or station-3.",
        )
    _check_role(role, station)
    try:
        with conn.begin_nested():
            values = {"name": name, "role": role, "station": station}
            made = conn.execute(insert(t.user).values(**values).returning(*USER)).one()
    except IntegrityError as error:
        if "uq_user_name" not in str(error.orig):
            raise
        raise Conflict(f"There is a user {name} already.", "`appliance user list` shows all of them.") from error
    kind = "station" if station else "user"
    _event(conn, "user_added", name, f"The {kind} {name} was added with the role {role}.", role=role)
    return User(**made._mapping)


def get(conn: Connection, name: str) -> User:
    """NotFound where there is none of the name."""
    found = find(conn, name)
    if found is None:
        raise NotFound(f"There is no user {folded(name)!r}.", "`appliance user list` shows all of them.")
    return found


def find(conn: Connection, name: str) -> User | None:
    row = conn.execute(select(*USER).where(_u.name == folded(name))).first()
    return None if row is None else User(**row._mapping)


def users(conn: Connection) -> list[dict[str, Any]]:
    """All of them (the fields of :class:`User`, and ``locked_until`` while it lasts), by name."""
    locked = case((_u.locked_until > func.clock_timestamp(), _u.locked_until)).label("locked_until")
    return [dict(row) for row in conn.execute(select(*USER, locked).order_by(_u.name)).mappings()]


def people(conn: Connection) -> list[str]:
    """Names of those who may sign in and are no stations: who may stand before one."""
    return list(conn.execute(select(_u.name).where(~_u.station, ~_u.disabled).order_by(_u.name)).scalars())


def set_role(conn: Connection, name: str, role: Role) -> User:
    """Another role; sessions end, so that no screen goes on showing what it may no longer do."""
    user = get(conn, name)
    _check_role(role, user.station)
    if role != user.role:
        _change(conn, user, role=role)
        _event(
            conn, "user_role", user.name, f"The role of {user.name} was changed from {user.role} to {role}.", role=role
        )
    return get(conn, name)


def set_disabled(conn: Connection, name: str, disabled: bool) -> User:
    """Without a way in until enabled again: sessions and links end at once."""
    user = get(conn, name)
    if disabled != user.disabled:
        _change(conn, user, disabled=disabled, links=disabled)
        word = "disabled" if disabled else "enabled"
        _event(conn, f"user_{word}", user.name, f"The user {user.name} was {word}.")
    return get(conn, name)


def remove(conn: Connection, name: str) -> None:
    """Gone, with sessions and links; what the user has done keeps the name."""
    user = get(conn, name)
    conn.execute(delete(t.user).where(_u.id == user.id))
    _event(conn, "user_removed", user.name, f"The user {user.name} was removed.")


def set_password(conn: Connection, user: User, password_hash: str) -> None:
    """A new password: sessions, links and locks of before end."""
    _change(conn, user, password_hash=password_hash, failed_tries=0, locked_until=None, links=True)
    _event(conn, "user_password", user.name, f"{user.name} chose a new password.")


def first_administrator(conn: Connection) -> User | None:
    """The user ``admin``, made where it is missing; None once any administrator has signed in or chosen a password."""
    arrived = or_(_u.password_hash.is_not(None), _u.last_login_at.is_not(None))
    if conn.execute(select(_u.id).where(_u.role == "admin", arrived)).first() is not None:
        return None
    user = find(conn, FIRST) or add(conn, FIRST, "admin")
    if user.role != "admin":
        raise Conflict(
            f"The user {FIRST} has the role {user.role}, and no administrator ever signed in.",
            f"Say `appliance user role {FIRST} admin`, then `appliance user link {FIRST}`.",
        )
    return user


def begin_try(conn: Connection, name: str) -> Try | None:
    """Count a try before its password is looked at, so that many at once are not more tries than one by one.

    Commit before looking. None where there is no such user.
    """
    locked = extract("epoch", _u.locked_until - func.clock_timestamp()).label("locked")
    statement = select(*USER, _u.password_hash, _u.failed_tries, locked).where(_u.name == folded(name))
    row = conn.execute(statement.with_for_update()).first()
    if row is None:
        return None
    user = User(**{column.name: row._mapping[column.name] for column in USER})
    # A lock that lasts longer than any was set by a clock that was wrong.
    if row.locked is not None and 0 < row.locked <= LONGEST_LOCK_SECONDS:
        return Try(user, None, row.failed_tries, math.ceil(row.locked))
    tries = row.failed_tries + 1
    seconds = lock_seconds(tries)
    until = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, seconds) if seconds else None
    conn.execute(update(t.user).where(_u.id == user.id).values(failed_tries=tries, locked_until=until))
    return Try(user, row.password_hash, tries, 0)


def passed(conn: Connection, tried: Try, renewed_hash: str | None = None) -> bool:
    """The password was right; False where it was changed, or the user disabled, while it was looked at."""
    values: dict[str, Any] = {"failed_tries": 0, "locked_until": None}
    values |= {"password_hash": renewed_hash} if renewed_hash else {}
    same = (_u.id == tried.user.id, _u.password_hash == tried.password_hash)
    return conn.execute(update(t.user).where(*same).values(**values)).rowcount == 1 and arrived(conn, tried.user)


def arrived(conn: Connection, user: User) -> bool:
    """Note that the user signs in now, before the session starts; False where the user was disabled or removed."""
    statement = update(t.user).where(_u.id == user.id, ~_u.disabled).values(last_login_at=func.clock_timestamp())
    return conn.execute(statement).rowcount == 1


def failed(conn: Connection, tried: Try, address: str) -> None:
    """The password was wrong: an event, where that locked the user."""
    seconds = lock_seconds(tried.tries)
    if seconds:
        said = f"Signing in as {tried.user.name} is locked for {seconds} s after {tried.tries} wrong passwords."
        journal.event(conn, "sign_in_locked", "warning", said, {"user": tried.user.name, "address": address})


def lock_seconds(tries: int) -> int:
    """How long no password is looked at after so many wrong ones in a row."""
    if tries <= _FREE_TRIES:
        return 0
    return min(LONGEST_LOCK_SECONDS, _FIRST_LOCK_SECONDS << min(tries - _FREE_TRIES - 1, 16))


def _change(conn: Connection, user: User, *, links: bool = False, **values: Any) -> None:
    """Change the row first: who signs in at this moment holds it, and their session is among those that end."""
    conn.execute(update(t.user).where(_u.id == user.id).values(**values))
    conn.execute(delete(t.session).where(t.session.c.user_id == user.id))
    if links:
        conn.execute(delete(t.link).where(t.link.c.user_id == user.id))


def _check_role(role: str, station: bool) -> None:
    if role not in get_args(Role):
        raise UsageError(f"There is no role {role!r}.", f"Take one of {', '.join(get_args(Role))}.")
    if station and role not in _STATION_ROLES:
        raise UsageError(
            f"A station cannot have the role {role}: whoever stands before it would have it.",
            "Take viewer or operator, and a user of their own for who needs more.",
        )


def _event(conn: Connection, kind: str, name: str, said: str, **details: Any) -> None:
    journal.event(conn, kind, "info", said, {"user": name, **details})
