"""Boxes for tests. ``fresh_box`` is one of the test's own; ``box`` is shared by the tests of a module."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.box import base, host, leftovers
from tests.box.box import Box
from tests.box.disk import Image


@pytest.fixture(scope="session")
def image() -> Image:
    """The base image of the Debian that ``APPLIANCE_BOX_DEBIAN`` names; skips where no box can run."""
    if reason := host.missing():
        pytest.skip(reason)
    leftovers.sweep()
    return base.image(base.release_of(os.environ.get("APPLIANCE_BOX_DEBIAN") or "12"))


@pytest.fixture(scope="module")
def box(image: Image) -> Iterator[Box]:
    """A running box for all tests of a module, which leave it running and with internet."""
    with Box.made(image) as made:
        made.start()
        yield made


@pytest.fixture
def fresh_box(image: Image) -> Iterator[Box]:
    """A running box that nobody else uses."""
    with Box.made(image) as made:
        made.start()
        yield made


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
