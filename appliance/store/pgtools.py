"""PostgreSQL's own programs: found, and run with a DSN whose password is seen by nobody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import psycopg2.extensions
from sqlalchemy.engine import make_url

from appliance.errors import BackupTrouble, SettingError
from appliance.store.service_user import package

DEBIAN = Path("/usr/lib/postgresql")
# A version asked for by `--version` stands at its end: "pg_dump (PostgreSQL) 15.14 (Debian ...)".
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def program(name: str, major: int) -> Path:
    """``pg_dump`` or ``pg_restore`` that knows a server of that version; BackupTrouble where there is none."""
    found = {version: path for path in _candidates(name) if (version := _version(path)) >= major}
    if not found:
        raise BackupTrouble(
            "tools",
            f"There is no {name} of PostgreSQL {major} on this machine.",
            f"Install the package postgresql-client-{major}.",
        )
    return found[min(found)]


def run(command: Path, dsn: str, words: Sequence[str], *, given: IO[bytes] | None = None) -> None:
    """Run a program on a database; BackupTrouble with what it said where it fails."""
    address, environment = _address(dsn)
    done = subprocess.run(
        [str(command), f"--dbname={address}", "--no-password", *words],
        stdin=given if given is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
        said = " ".join((lines or done.stderr.splitlines() or ["it said nothing"])[0].split())[:300].rstrip(".")
        raise BackupTrouble("tools", f"{command.name} failed ({said}).", "See the disk's room and the database's log.")


def _candidates(name: str) -> Iterator[Path]:
    if DEBIAN.is_dir():
        yield from sorted(DEBIAN.glob(f"*/bin/{name}"))
    try:
        for folder in package().POSTGRES_VERSIONS.values():
            yield Path(folder) / name
    except SettingError:
        pass  # the extra is not installed, which a box has no use for
    if found := shutil.which(name):
        yield Path(found)


def _version(path: Path) -> int:
    try:
        done = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = _VERSION.search(done.stdout)
    return int(found[1]) if found else 0


def _address(dsn: str) -> tuple[str, dict[str, str]]:
    """What libpq is told: in the words of the command all but the password, which everybody on the box could read there."""
    url = make_url(dsn)
    said = {name: str(value) for name, value in url.translate_connect_args(database="dbname", username="user").items()}
    said |= {name: str(value) for name, value in url.query.items()}
    password = said.pop("password", None)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password is not None:
        environment["PGPASSWORD"] = password
    return psycopg2.extensions.make_dsn(**said), environment
