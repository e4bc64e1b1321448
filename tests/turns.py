"""Which worker runs which tests, and when: what shares something dear stays together, and what takes long comes first.

A worker takes a file of tests at a time. One that takes minutes would, at the end, leave the others with nothing to do.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Folders whose tests share what takes long to set up.
TOGETHER = ("tests/airflow/", "tests/dags/", "tests/ui/browser/")
# Longest first; all others in the order of their names.
FIRST = (
    "tests/box/test_playbook.py",
    "tests/box/test_outages.py",
    "tests/box/test_killed_run.py",
    "tests/demo/",
    *TOGETHER,
    "tests/unit/model/",
    "tests/unit/bench/",
    "tests/ui/",
    "tests/api/",
    "tests/sync/",
    "tests/unit/store/",
    "tests/cli/",
)


class Turns(LoadFileScheduling):  # type: ignore[misc]
    """Like ``--dist loadfile``, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return turn(nodeid)


def turn(nodeid: str) -> str:
    """What is given to a worker at once."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])


def rank(nodeid: str) -> int:
    return next((number for number, folder in enumerate(FIRST) if nodeid.startswith(folder)), len(FIRST))
