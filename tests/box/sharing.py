"""Something dear that the workers of one session make once, and put away when nobody uses it any more."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


@contextmanager
def once(file: Path, kind: type[T], make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """What ``make`` gives, a ``kind`` that JSON can hold: made by whoever comes first, and read from ``file`` by the others.

    The maker's block ends after those of all others. A maker that fails leaves it to the next.
    """
    with file.with_suffix(".turn").open("a") as turn, file.with_suffix(".users").open("a") as users:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if file.exists():
            fcntl.flock(users, fcntl.LOCK_SH)
            found = TypeAdapter(kind).validate_json(file.read_bytes())
            fcntl.flock(turn, fcntl.LOCK_UN)
            yield found
            return
        with make() as made:
            file.write_bytes(TypeAdapter(kind).dump_json(made))
            fcntl.flock(turn, fcntl.LOCK_UN)
            try:
                yield made
            finally:
                # Nobody finds it from here on, and who found it ends first.
                fcntl.flock(turn, fcntl.LOCK_EX)
                file.unlink()
                fcntl.flock(users, fcntl.LOCK_EX)
