"""PostgreSQL is killed under a running pass, with all its processes: what was committed is there when it is back."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from appliance.store import embedded
from appliance.store.migrations import migrate
from tests.conftest import MEMORY, PREFIX
from tests.faults import processes
from tests.faults.boxes import Box, Boxes, Start
from tests.faults.calls import Call
from tests.faults.campaign import Figures, Journey, Say, finish, number_of, undisturbed
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults


class Mortal:
    """A server that writes durably, and can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self.server = embedded.start(folder)

    def create(self) -> str:
        """The DSN of a new migrated database."""
        name = f"test_{next(self._numbers)}"
        connection = psycopg2.connect(self.server.dsn)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        connection.close()
        dsn = make_url(self.server.dsn).set(database=name).render_as_string(hide_password=False)
        migrate(dsn)
        return dsn

    def kill(self) -> None:
        """All its processes at once: as in a power cut, but for the disk."""
        killed = processes.kill_in(self._folder)
        self.server.stop()
        processes.await_end(killed)

    def start(self) -> None:
        self.server = embedded.start(self._folder)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Mortal]:
    # Its recovery begins with fsyncs of all that it has; what other tests write to the disk would hold it up.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    server = Mortal(folder)
    try:
        yield server
    finally:
        server.server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def moments(calls: Sequence[Call], *texts: str) -> Iterator[int]:
    """For each text the statement that holds it, the commit behind that, and what comes right after the commit."""
    for text in texts:
        statement = number_of(calls, "sendto", text)
        commit = number_of(calls, "sendto", "COMMIT", after=statement)
        yield from (statement, commit, number_of(calls, "sendto", "", after=commit))


def test_the_server_is_killed_in_the_middle_of_a_pass(
    runners: list[Runner],
    boxes: Boxes,
    dropped: Start,
    mortal: Mortal,
    tmp_path: Path,
    say: Say,
    figures: list[Figures],
) -> None:
    runner = runners[0]
    wanted = undisturbed(runner, boxes, Journey("", dropped, "ingest_and_predict"))
    with boxes.fresh(dropped) as box:
        calls = runner.run("ingest_and_predict", box.settings).made
    texts = (
        "INSERT INTO run",
        "INSERT INTO arrival",
        "INSERT INTO file",
        "UPDATE arrival SET cleared_at",
        "UPDATE run",
    )
    numbers = sorted({*moments(calls, *texts, "COPY prediction", "UPDATE part")})
    found = Figures("PostgreSQL, under a pass and predictions", [calls[number - 1] for number in numbers])
    found.accounts = wanted.accounts
    for number in numbers:
        folder = tmp_path / str(number)
        shutil.copytree(dropped.folder, folder, symlinks=True)
        box = Box(folder, mortal.create())
        held = runner.hold("ingest_and_predict", box.settings, number)
        mortal.kill()
        ended = held.go()
        assert (ended.error, ended.status) == ("StoreAway", 503), (held.call, ended.message)
        mortal.start()
        finish(runner, box, wanted)
        found.kills.append(held.call)
        say(f"{found.journey}: {len(found.kills)} of {len(numbers)} killed")
    figures.append(found)
