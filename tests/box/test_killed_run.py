"""A playbook that is killed anywhere leaves nothing that the next run does not finish."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.box import lan, made
from tests.box.box import Box
from tests.box.disk import Image
from tests.box.playbook import Playbook
from tests.box.test_outages import SEED

pytestmark = pytest.mark.box

# A run has some more.
TASKS = 230


def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(image: Image, tmp_path: Path) -> None:
    at = random.Random(SEED).randrange(2, TASKS)
    with Box.made(image) as box:
        box.start()
        playbook = Playbook(box, tmp_path)
        killed = playbook.run(kill_at=at)
        print(f"\nkilled at task {at}, {killed.tasks[-1]!r}; APPLIANCE_BOX_SEED={SEED}")
        assert not killed.counts, "the run had ended before"
        again = playbook.run()
        assert again.counts["failed"] == 0
        assert made.ready(box)[0] == 200
        assert playbook.run().changes == []
        # Nobody named it, so it goes by its address, and its certificate too.
        assert lan.met(box.address, box.address).ask("/screens/_stcore/health", name=box.address).text == "ok"
