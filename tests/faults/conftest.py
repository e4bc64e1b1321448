"""Two forking processes, one for each core of a small box, and boxes to kill them in."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import bundle, signing
from tests import small_models
from tests.conftest import Cluster
from tests.faults import figures as pages
from tests.faults import scenes
from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Figures, Killer, Say
from tests.faults.failures import Failer
from tests.faults.figures import Tables
from tests.faults.runner import Runner

_RUNNERS = 2
# A kill at each call, or at one of so many (``make faults EVERY=3``).
EVERY = int(os.environ.get("APPLIANCE_FAULTS_EVERY") or "1")
# The same for failures; where not all are tried, a change waits for half as many.
FAILURES_EVERY = EVERY if EVERY == 1 else 2 * EVERY


@dataclass(frozen=True, slots=True)
class Shelf:
    """A data folder with bundles and keys, and nothing dropped: the second mill model serves, after the first."""

    start: Start
    milling: tuple[str, str, str]  # versions; the third is not installed
    third: Path  # its bundle


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, runners: list[Runner]) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    key = folder / "keys" / "signing.key"
    models = folder / "models"
    key.parent.mkdir()
    models.mkdir()
    signing.create_key(key)
    keys = signing.trusted_keys(key.parent)
    mills = [bundle.publish(small_models.files("milling", n), models, key) for n in range(3)]
    for mill in mills[:2]:
        bundle.activate(models, "milling", mill.version, keys)
    pump = bundle.publish(small_models.files("pump"), models, key)
    bundle.activate(models, "pump", pump.version, keys)
    third = tmp_path_factory.mktemp("third") / "bundle"
    shutil.move(mills[2].folder, third)
    return Shelf(Start(folder), (mills[0].version, mills[1].version, mills[2].version), third)


@pytest.fixture(scope="session")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Runner]]:
    log = tmp_path_factory.mktemp("runners")
    with ExitStack() as stack:
        runners = [stack.enter_context(Runner(log / f"{n}.log")) for n in range(_RUNNERS)]
        if why := runners[0].hindrance():
            pytest.skip(f"no process can be stopped at its system calls here: {why}")
        yield runners


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory, embedded_cluster: Cluster) -> Boxes:
    return Boxes(embedded_cluster, tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="session")
def dropped(boxes: Boxes, shelf: Shelf) -> Start:
    """A box that never ran, with the files of the first shift in its drop folder."""
    start, box = boxes.keep(shelf.start)
    scenes.first_shift(box.raw)
    return start


@pytest.fixture(scope="session")
def one_file(boxes: Boxes, shelf: Shelf) -> Start:
    """A box that never ran, with one file of good and bad rows in its drop folder."""
    start, box = boxes.keep(shelf.start)
    scenes.partly(box.raw)
    return start


@pytest.fixture(scope="session")
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    """Of all journeys; written into the documents where that is asked for, and nothing failed."""
    found = Tables(EVERY)
    yield found
    if request.session.testsfailed == 0:
        pages.publish(found)


@pytest.fixture(scope="session")
def figures(tables: Tables) -> list[Figures]:
    """Of what was killed."""
    return tables.kills


@pytest.fixture
def killer(runners: list[Runner], boxes: Boxes, say: Say, figures: list[Figures]) -> Killer:
    return Killer(runners, boxes, say, figures, EVERY)


@pytest.fixture
def failer(runners: list[Runner], boxes: Boxes, say: Say, tables: Tables) -> Failer:
    return Failer(runners, boxes, say, tables.failures, FAILURES_EVERY)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """A line on the terminal that the next one replaces; where there is no terminal, every 50th."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    if reporter is None or capture is None or request.config.option.verbose < 0:
        return lambda line: None
    numbers = itertools.count(1)

    def tell(line: str) -> None:
        number = next(numbers)
        with capture.global_and_fixture_disabled():
            if reporter.isatty:
                reporter.rewrite(line, erase=True)
            elif number % 50 == 0:
                reporter.ensure_newline()
                reporter.write_line(line)

    return tell
