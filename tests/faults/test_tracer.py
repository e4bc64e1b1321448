"""The tracer counts what a process changes, in whichever thread, and the call at which it kills is not made."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import failing
from tests.faults.calls import Call
from tests.faults.runner import Runner

pytestmark = pytest.mark.faults

THREADS = 4


def test_calls_of_all_threads_are_counted(runners: list[Runner], tmp_path: Path) -> None:
    ended = runners[0].run("scribble", {"data_dir": tmp_path}, threads=THREADS)
    assert Counter(call.name for call in ended.made if str(tmp_path) in call.subject) == {
        "openat": THREADS,
        "write": THREADS,
        "rename": THREADS,
    }


def test_the_call_at_which_it_kills_is_not_made(runners: list[Runner], tmp_path: Path) -> None:
    """In one worker: of several, the others may die in the middle of theirs."""
    for number in range(1, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = runners[0].run("scribble", {"data_dir": folder}, kill_at=number, threads=1)
        assert ended.killed_by is not None
        assert ended.done is None
        made = Counter(call.name for call in ended.made)
        assert made.total() == number - 1
        assert len(list(folder.iterdir())) == made["openat"]
        assert len(list(folder.glob("*.txt"))) == made["rename"]
        assert sum(path.stat().st_size for path in folder.iterdir()) == made["write"]


def test_a_call_fails_and_is_not_made(runners: list[Runner], tmp_path: Path) -> None:
    for number, (name, error, said) in enumerate(
        [("openat", errno.ENOSPC, "full"), ("write", errno.EIO, "Errno 5"), ("rename", errno.ENOSPC, "full")], start=1
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = runners[0].fail("scribble", {"data_dir": folder}, number, error, threads=1)
        assert ended.failed is not None
        assert ended.failed.name == name
        assert ended.error == "DiskTrouble"
        assert said in ended.message
        assert [path.name for path in folder.iterdir()] == ["0.new"] * (number > 1)


def test_only_what_takes_room_fails_for_want_of_it(runners: list[Runner], tmp_path: Path) -> None:
    calls = [Call(name, "x") for name in ("write", "fsync", "rename", "unlinkat", "fchmod", "sendto")]
    found = [failing.error_of(call, errno.ENOSPC) for call in calls]
    assert found == [errno.ENOSPC, errno.ENOSPC, errno.ENOSPC, errno.EIO, errno.EIO, 0]


def test_a_failed_sync_takes_the_content_with_it(runners: list[Runner], tmp_path: Path) -> None:
    """Who syncs again gets success, and a file of zeros: that is what finds out whoever does."""
    ended = runners[0].fail("sync_twice", {"data_dir": tmp_path}, 3, errno.EIO)
    assert ended.failed is not None
    assert ended.failed.is_sync
    assert ended.done == {"content": "\0" * 100}


def test_without_an_end_nothing_is_left(runners: list[Runner], tmp_path: Path) -> None:
    held = runners[0].hold("scribble", {"data_dir": tmp_path}, 2, threads=1)
    assert held.kill().killed_by == held.call
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]
