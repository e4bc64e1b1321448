"""What workers of one session share."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.box import sharing


@dataclass(frozen=True)
class Dear:
    place: Path
    number: int


@contextmanager
def _make(folder: Path) -> Iterator[Dear]:
    with (folder / "log").open("a") as log:
        log.write("made\n")
    (folder / "dear").touch()
    yield Dear(folder / "dear", 7)
    (folder / "dear").unlink()


def _use(folder: Path, seconds: float) -> None:
    with sharing.once(folder / "shared", Dear, lambda: _make(folder)) as dear:
        assert dear == Dear(folder / "dear", 7)
        time.sleep(seconds)
        assert dear.place.exists(), "it was put away while it was used"


def test_it_is_made_once_and_stays_until_the_last_has_done_with_it(tmp_path: Path) -> None:
    """The first ends at once, the others later."""
    context = multiprocessing.get_context("fork")
    users = [context.Process(target=_use, args=(tmp_path, seconds)) for seconds in (0.0, 0.5, 1.0, 1.0)]
    for user in users:
        user.start()
        time.sleep(0.05)
    for user in users:
        user.join(30)
    assert [user.exitcode for user in users] == [0, 0, 0, 0]
    assert not (tmp_path / "dear").exists()
    assert not (tmp_path / "shared").exists()
    assert 1 <= (tmp_path / "log").read_text().count("made") <= 2


def test_a_maker_that_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    @contextmanager
    def fail() -> Iterator[Dear]:
        raise ValueError
        yield

    with pytest.raises(ValueError), sharing.once(tmp_path / "shared", Dear, fail):  # noqa: PT011
        pass
    _use(tmp_path, 0)
