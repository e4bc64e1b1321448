"""Databases that take the place of others: filled beside them, then renamed, all in one transaction."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from appliance.errors import BackupTrouble
from appliance.store import dump, report
from appliance.store import engine as engines
from appliance.store.dump import quoted

NEW, OLD = "_restore", "_before_restore"
_MAINTENANCE = "postgres"
_SUPERUSER = "postgres"
_IN_USE = "55006"
# Settings that are lists: their values stand as they are, and are quoted already.
_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


@contextmanager
def administrator(dsn: str) -> Iterator[str]:
    """The maintenance database of that server, for whoever may make databases there.

    On a box root does this, and PostgreSQL knows people by who the kernel says they are: then we are its superuser for
    as long as the block lasts. Files that only root may read have to be open before.
    """
    url = make_url(dsn)
    target = url.set(database=_MAINTENANCE)
    if os.geteuid() != 0 or url.username is not None or not _is_socket(url):
        yield target.render_as_string(hide_password=False)
        return
    user = pwd.getpwnam(_SUPERUSER)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield target.set(username=_SUPERUSER).render_as_string(hide_password=False)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def named(dsn: str) -> str:
    """The name of the database, which is the user's where none is given."""
    url = make_url(dsn)
    return str(url.database or url.username or "")


def users(admin: str, names: Sequence[str]) -> list[str]:
    """Who is connected to these databases: the names that programs gave, each once."""
    with _server(admin) as connection:
        query = text(
            "SELECT DISTINCT coalesce(nullif(application_name, ''), 'a program without a name') FROM pg_stat_activity"
            " WHERE datname = ANY(:names) AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1"
        )
        return list(connection.execute(query, {"names": list(names)}).scalars())


def there(admin: str, names: Sequence[str]) -> set[str]:
    with _server(admin) as connection:
        found = connection.execute(text("SELECT datname FROM pg_database WHERE datname = ANY(:n)"), {"n": list(names)})
        return set(found.scalars())


def server_version(admin: str) -> int:
    with _server(admin) as connection:
        return dump.major(connection)


def prepare(admin: str, name: str) -> str:
    """Make the empty database that shall take the place of ``name``; the role that shall own what is in it ('' where that
    is whoever logs in)."""
    with _server(admin) as connection:
        owner = connection.execute(
            text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name"), {"name": name}
        ).scalar()
        us = connection.execute(text("SELECT current_user")).scalar_one()
    dump.make(admin, name + NEW, like=name, owner=str(owner or us))
    with _server(admin) as connection:
        for statement in list(_settings(connection, name)):
            connection.execute(dump.as_it_stands(statement))
    return str(owner) if owner and owner != us else ""


def rights(admin: str, name: str) -> None:
    """Let whoever reads the views of a database read those of the one that takes its place."""
    with _server(admin) as connection:
        is_super = connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar()
        has_reader = connection.execute(
            text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": report.READER}
        ).scalar()
    if is_super and has_reader:
        engine = engines.connect(dump.beside(admin, name + NEW), "appliance-restore", 1)
        try:
            report.make_reader(engine)
        finally:
            engine.dispose()


def swap(admin: str, names: Sequence[str]) -> None:
    """Let the new databases take the names of the old ones, all or none; those that did already are left as they are.

    BackupTrouble("in_use") where somebody is connected.
    """
    waiting = [name for name in names if there(admin, [name + NEW])]
    for name in waiting:
        dump.drop(admin, name + OLD)
    try:
        with _server(admin) as connection:
            for name in waiting:
                if there(admin, [name]):
                    connection.execute(_rename(name, name + OLD))
                connection.execute(_rename(name + NEW, name))
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _IN_USE:
            raise
        raise BackupTrouble(
            "in_use", f"Somebody uses the databases ({', '.join(users(admin, names))}).", "Stop the services first."
        ) from None


def forget(admin: str, names: Sequence[str], ending: str) -> None:
    """Drop what restores left beside these databases."""
    for name in names:
        dump.drop(admin, name + ending)


def _rename(name: str, to: str) -> TextClause:
    return dump.as_it_stands(f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(to)}")


def _settings(connection: Connection, name: str) -> Iterator[str]:
    """Statements that give the new database the settings that the old one has, for all and for single roles."""
    query = text(
        "SELECT r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = :name"
    )
    for role, config in [tuple(row) for row in connection.execute(query, {"name": name})]:
        whose = f"DATABASE {quoted(name + NEW)}"
        if role is not None:
            whose = f"ROLE {quoted(role)} IN {whose}"
        for line in config:
            setting, _, value = line.partition("=")
            said = value if setting in _LISTS else dump.literal(value)
            yield f"ALTER {whose} SET {quoted(setting)} TO {said}"


@contextmanager
def _server(admin: str) -> Iterator[Connection]:
    engine = engines.connect(admin, "appliance-restore", 2)
    try:
        with engines.transaction(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _is_socket(url: URL) -> bool:
    host = url.query.get("host") or url.host
    return host is None or str(host).startswith("/")


def as_role(dsn: str, role: str) -> str:
    """The same database, where all that is made belongs to that role; '' is whoever logs in."""
    if not role:
        return dsn
    url = make_url(dsn)
    options: Mapping[str, str] = {"options": f"-c role={role}"}
    return url.update_query_dict(options).render_as_string(hide_password=False)
