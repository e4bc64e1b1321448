"""Boxes for tests. ``fresh_box`` is one of the test's own; ``box`` is shared by the tests of a module.

``installed`` is what the playbook made of a fresh Debian, once a session: ``Box.made(installed.image)`` is a copy of it,
and ``desk`` one of the folder from which it was set up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.box import base, leftovers, made, permits, sharing
from tests.box.box import Box
from tests.box.disk import Image
from tests.box.host import Lacking
from tests.box.installed import Installed
from tests.box.installed import installed as set_up
from tests.box.playbook import NAMES, Playbook


@pytest.fixture(scope="session")
def image() -> Image:
    """The base image of the Debian that ``APPLIANCE_BOX_DEBIAN`` names; skips where no box can run."""
    try:
        permits.check()
        leftovers.sweep()
        return base.image(base.release_of(os.environ.get("APPLIANCE_BOX_DEBIAN") or "12"))
    except Lacking as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def installed(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A box that the playbook set up, switched off; some minutes. Workers side by side share one."""
    shared = (
        tmp_path_factory.getbasetemp().parent
        if "PYTEST_XDIST_WORKER" in os.environ
        else tmp_path_factory.mktemp("made")
    )
    with sharing.once(shared / "installed", Installed, lambda: set_up(image, tmp_path_factory.mktemp("desk"))) as found:
        yield found


@pytest.fixture(scope="module")
def desk(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for the tests of a module: a :class:`Playbook` writes there which box it is about."""
    folder = tmp_path_factory.mktemp("desk") / "desk"
    shutil.copytree(installed.desk, folder)
    return folder


@pytest.fixture(scope="module")
def playbook(installed: Installed, desk: Path) -> Iterator[Playbook]:
    """A copy of what was set up, running, for all tests of a module; its box is ``playbook.box``."""
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        yield Playbook(box, desk, **NAMES)


@pytest.fixture(scope="module")
def box(image: Image) -> Iterator[Box]:
    """A running box for all tests of a module, which leave it running and with internet."""
    with Box.made(image) as made_box:
        made_box.start()
        yield made_box


@pytest.fixture
def fresh_box(image: Image) -> Iterator[Box]:
    """A running box that nobody else uses."""
    with Box.made(image) as made_box:
        made_box.start()
        yield made_box


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the box itself says of a test that failed."""
    report = yield
    if report.failed:
        for box in getattr(item, "funcargs", {}).values():
            if isinstance(box, Box) and box.running:
                said = box.run("journalctl --boot --priority=warning --lines=60 --no-pager", check=False).out
                report.sections.append((f"warnings of {box.name}", said))
    return report
