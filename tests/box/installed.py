"""A box that the playbook set up, once for all tests of a session: what is on its disk is the image of theirs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.box import host, made
from tests.box.box import Box
from tests.box.disk import Image
from tests.box.playbook import NAMES, Playbook, Ran

ROWS = 40


@dataclass(frozen=True, slots=True)
class Installed:
    """``desk`` is the folder of the machine at the desk, with which a :class:`Playbook` goes on on another box.

    One file of ``ROWS`` rows came over SFTP and was predicted; ``raw`` is what was left in the drop folder after it.
    """

    image: Image
    desk: Path
    look: Ran
    touched: str
    first: Ran
    minutes: float
    minutes_to_prediction: float
    raw: str


@contextmanager
def installed(image: Image, desk: Path) -> Iterator[Installed]:
    """Look at a fresh Debian, set it up, have one file predicted, and switch it off."""
    with Box.made(image) as box:
        box.start()
        playbook = Playbook(box, desk, **NAMES)
        look = playbook.run("--check", "--diff")
        touched = box.run("ls /opt /etc/appliance /var/lib/appliance", check=False).out
        began = time.monotonic()
        first = playbook.run()
        set_up = time.monotonic()
        made.drop(box, playbook.machine_key, made.write(desk, 0, ROWS), "mill-1")
        host.wait_for(lambda: made.predicted(box) > 0, 420, "nothing was predicted")
        predicted = time.monotonic()
        made.settled(box, 1)
        raw = box.run(f"ls /var/lib/appliance/raw_data/{made.PROFILE}/mill-1").out
        frozen = box.freeze(box.folder / "frozen")
        # Nothing of it is needed any more but its files; they go with the session, or with the next one's sweep.
        box.cable.remove()
        yield Installed(frozen, desk, look, touched, first, (set_up - began) / 60, (predicted - set_up) / 60, raw)
