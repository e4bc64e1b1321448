"""One stage for all tests of a run: starting it takes some ten seconds, and what one task changes disturbs no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import Shelf, box, shelf  # noqa: F401 - fixtures
from tests.conftest import Cluster
from tests.ui.browser import stage as stages
from tests.ui.browser.stage import Stage


@pytest.fixture(scope="session")
def stage(
    tmp_path_factory: pytest.TempPathFactory,
    embedded_cluster: Cluster,
    shelf: Shelf,  # noqa: F811
) -> Iterator[Stage]:
    if stages.CHROMIUM is None:
        pytest.skip("There is no Chromium on this machine (Debian: apt-get install chromium).")
    folder: Path = tmp_path_factory.mktemp("stage")
    dsn = embedded_cluster.dsn(embedded_cluster.create())
    with stages.staged(folder, box(folder / "box", dsn, shelf)) as made:
        stages.play(made, rounds=2, pause=0.2)
        yield made
