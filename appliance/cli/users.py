"""``appliance user ...``: people and stations that sign in, and the links by which they choose a password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance import settings
from appliance.cli.keys import Role
from appliance.cli.output import JsonFlag, emit, hint, say, table
from appliance.errors import UsageError

if TYPE_CHECKING:
    from appliance.store.engine import Connection
    from appliance.store.users import User

users = typer.Typer(help="People and stations that sign in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name that the user signs in with.")]
Days = Annotated[int, typer.Option(min=1, max=7, help="Days that the link works.")]


@users.command("add")
def add_user(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = "viewer",
    station: Annotated[bool, typer.Option("--station", help="A screen that several people share.")] = False,
    days: Days = 1,
    as_json: JsonFlag = False,
) -> None:
    """Add a user, and print the link by which a password is chosen. It works once and is shown this once."""
    from appliance.store import users as store

    with _store() as connection:
        user = store.add(connection, name, role, station=station)
        link = _link(connection, user, days)
    _tell(user, link, days, as_json)


@users.command("link")
def link_user(
    name: Annotated[str | None, typer.Argument(help="Name of the user.")] = None,
    first: Annotated[
        bool, typer.Option("--first", help="For the first administrator, while none has ever signed in.")
    ] = False,
    days: Days = 1,
    as_json: JsonFlag = False,
) -> None:
    """Print a new link by which a password is chosen; links of before end, and the present password once it is used."""
    from appliance.store import users as store

    if first == (name is not None):
        raise UsageError("Say whose link it is to be.", "`appliance user link NAME`, or `appliance user link --first`.")
    with _store() as connection:
        user = store.first_administrator(connection) if name is None else store.get(connection, name)
        link = _link(connection, user, days) if user else None
    if user is not None:
        _tell(user, link, days, as_json)
    elif as_json:
        emit({"name": None, "role": None, "station": False, "link": None})
    else:
        hint("An administrator has signed in already: there is no link for a first one.")


@users.command("list")
def list_users(as_json: JsonFlag = False) -> None:
    """Who may sign in."""
    from appliance.store import users as store

    with _store() as connection:
        found = store.users(connection)
    if as_json:
        emit({"users": found})
        return
    rows = (
        (
            user["name"],
            f"{user['role']} (station)" if user["station"] else user["role"],
            _state(user),
            f"{user['created_at']:%Y-%m-%d}",
            f"{user['last_login_at']:%Y-%m-%d %H:%M}" if user["last_login_at"] else "never",
        )
        for user in found
    )
    table(rows, ("name", "role", "state", "since", "last signed in (UTC)"))


@users.command("role")
def change_role(name: Name, role: Annotated[Role, typer.Argument(help="What the user may do from now on.")]) -> None:
    """Change what a user may do; whoever is signed in under the name has to sign in again."""
    from appliance.store import users as store

    with _store() as connection:
        user = store.set_role(connection, name, role)
    say(f"{user.name} has the role {user.role}.")


@users.command("disable")
def disable_user(name: Name) -> None:
    """Let a user in no more; sessions end at once."""
    _set_disabled(name, True)


@users.command("enable")
def enable_user(name: Name) -> None:
    """Let a disabled user in again, with the password of before."""
    _set_disabled(name, False)


@users.command("remove")
def remove_user(name: Name) -> None:
    """Remove a user; what was noted under the name stays."""
    from appliance.store import users as store

    with _store() as connection:
        store.remove(connection, name)
    say(f"The user {store.folded(name)} is removed.")


def _set_disabled(name: str, disabled: bool) -> None:
    from appliance.store import users as store

    with _store() as connection:
        user = store.set_disabled(connection, name, disabled)
    say(f"{user.name} is {'disabled' if user.disabled else 'enabled'}.")


def _state(user: Mapping[str, Any]) -> str:
    if user["disabled"]:
        return "disabled"
    if not user["has_password"]:
        return "has no password yet"
    return "locked" if user["locked_until"] else ""


def _link(connection: Connection, user: User, days: int) -> str:
    from appliance.store import sessions

    path = sessions.make_link(connection, user.name, "welcome", timedelta(days=days))
    return f"{settings.load().reachable_url}{path}"


def _tell(user: User, link: str | None, days: int, as_json: bool) -> None:
    if as_json:
        emit({"name": user.name, "role": user.role, "station": user.station, "link": link})
        return
    what = "Station" if user.station else "User"
    span = "a day" if days == 1 else f"{days} days"
    hint(f"{what} {user.name} ({user.role}) chooses a password here, once and within {span}:")
    say(link or "")
    if settings.load().public_url is None:
        hint("It opens on this machine; set public_url for links that others can open.")


@contextmanager
def _store() -> Iterator[Connection]:
    from appliance.store import engine

    with engine.transaction(engine.connect(settings.load().require_dsn())) as connection:
        yield connection
