"""Two forking processes, one for each core of a small box, and boxes to kill them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import bundle, signing
from tests import small_models
from tests.conftest import Cluster
from tests.faults import scenes, tracer
from tests.faults.boxes import Boxes, Start
from tests.faults.campaign import Say
from tests.faults.runner import Runner

_RUNNERS = 2


@dataclass(frozen=True, slots=True)
class Shelf:
    """A data folder with bundles and keys, and nothing dropped: two mill models were active, one after the other."""

    folder: Path
    milling: tuple[str, str, str]
    spare: Path  # a bundle that is not installed


@pytest.fixture(scope="session", autouse=True)
def _traceable() -> None:
    if why := tracer.unsupported():
        pytest.skip(f"no calls can be stopped here: {why}")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    key = folder / "keys" / "signing.key"
    models = folder / "models"
    key.parent.mkdir()
    models.mkdir()
    signing.create_key(key)
    keys = signing.trusted_keys(key.parent)
    first, second, third = (bundle.publish(small_models.files("milling", n), models, key) for n in range(3))
    bundle.activate(models, "milling", first.version, keys)
    bundle.activate(models, "milling", second.version, keys)
    pump = bundle.publish(small_models.files("pump"), models, key)
    bundle.activate(models, "pump", pump.version, keys)
    spare = tmp_path_factory.mktemp("spare") / "bundle"
    third.folder.rename(spare)
    return Shelf(folder, (first.version, second.version, third.version), spare)


@pytest.fixture(scope="session")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Runner]]:
    log = tmp_path_factory.mktemp("runners")
    with ExitStack() as stack:
        yield [stack.enter_context(Runner(log / f"{n}.log")) for n in range(_RUNNERS)]


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory, embedded_cluster: Cluster) -> Boxes:
    return Boxes(embedded_cluster, tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="session")
def dropped(boxes: Boxes, shelf: Shelf) -> Start:
    """A box that never ran, with the files of the first shift in its drop folder."""
    start, box = boxes.keep(Start(shelf.folder))
    scenes.first_shift(box.raw)
    return start


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A line on the terminal that the next one replaces."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return lambda line: None
    return lambda line: reporter.rewrite(line, erase=True)


__all__ = ["Say"]
