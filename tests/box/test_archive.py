"""The log of changes on a box whose owner has it copied away: all comes back from it but minutes, and a disk that is
away for long fills nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import host, made
from tests.box.box import Box
from tests.box.installed import Installed
from tests.box.playbook import NAMES, Playbook

pytestmark = pytest.mark.box

_TO = "/srv/log"
_QUEUE_MB = 48
_SEGMENT_MB = 16
_TOLD = (
    "INSERT INTO outcome (machine_id, happened_at, kind, who) SELECT id, now(), 'failure', '{who}' FROM machine LIMIT 1"
)
_COPIED = "SELECT coalesce(last_archived_wal >= '{wal}', false) FROM pg_stat_archiver"
_PGBACKREST = "cd / && runuser -u postgres -- pgbackrest --stanza=box"


@pytest.fixture(scope="module")
def playbook(installed: Installed, desk: Path) -> Iterator[Playbook]:
    """A box that went without, and is told to copy the log of changes by a further run."""
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        playbook = Playbook(box, desk, **NAMES, postgres_archive_to=_TO, postgres_archive_queue_mb=_QUEUE_MB)
        playbook.run("--tags", "postgres")
        made.back(box)
        yield playbook


def copied(box: Box) -> None:
    """End the present file of the log, and wait until it was copied away."""
    wal = made.rows(box, "SELECT pg_walfile_name(pg_switch_wal())")[0]
    host.wait_for(
        lambda: made.rows(box, _COPIED.format(wal=wal)) == ["t"],
        120,
        f"{wal} was not copied: {box.run('tail -n 20 /var/log/postgresql/*.log').out}",
    )


def waiting_mb(box: Box) -> int:
    return _SEGMENT_MB * int(box.run("find /var/lib/postgresql/*/main/pg_wal -name '*.ready' | wc -l").out)


def doctor(box: Box) -> str:
    return box.run("appliance doctor", check=False).out


def test_a_run_switches_it_on_and_the_next_changes_nothing(playbook: Playbook) -> None:
    box = playbook.box
    assert "No fault found" in doctor(box)
    assert made.rows(box, "SHOW archive_timeout") == ["5min"]
    box.run(f"{_PGBACKREST} check", seconds=180)
    copies = box.run(f"{_PGBACKREST} info").out
    assert "full backup" in copies
    assert "status: ok" in copies
    again = playbook.run("--tags", "postgres")
    assert again.changes == []


def test_a_lost_database_comes_back_to_the_newest_moment(playbook: Playbook) -> None:
    """By the words of docs/backup.md."""
    box = playbook.box
    made.rows(box, _TOLD.format(who="kim"))
    copied(box)
    wanted = made.predicted(box)
    box.run("systemctl stop appliance.target postgresql", seconds=240)
    box.run("rm -r /var/lib/postgresql/*/main/base /var/lib/postgresql/*/main/pg_wal")
    box.run(f"{_PGBACKREST} --delta restore", seconds=300)
    box.run("systemctl start postgresql appliance.target", seconds=400)
    made.back(box)
    assert made.rows(box, "SELECT who FROM outcome") == ["kim"]
    assert made.predicted(box) == wanted
    # Once it is played the database takes changes again, and they are copied.
    host.wait_for(lambda: made.rows(box, "SELECT pg_is_in_recovery()") == ["f"], 60, "it still plays the log")
    copied(box)


def test_a_disk_that_is_away_for_long_does_not_fill_this_one(playbook: Playbook) -> None:
    box = playbook.box
    box.run(f"mv {_TO} {_TO}.away")
    for _ in range(3 * _QUEUE_MB // _SEGMENT_MB):
        made.rows(box, "SELECT pg_logical_emit_message(false, 'proof', 'x'), pg_switch_wal()")
    host.wait_for(lambda: "has a gap" in doctor(box), 180, f"nobody says so: {doctor(box)}")
    host.wait_for(lambda: waiting_mb(box) <= _QUEUE_MB, 120, f"{waiting_mb(box)} MB wait")
    # The appliance itself went on.
    made.rows(box, _TOLD.format(who="sam"))
    box.run(f"mv {_TO}.away {_TO}")
    box.run("systemctl start postgresql-archive.service", seconds=400)
    assert "has a gap" not in doctor(box)
    copied(box)
