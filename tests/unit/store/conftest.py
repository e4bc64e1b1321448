"""The store is tested on every PostgreSQL that is at hand."""

from __future__ import annotations

import pytest

from tests.conftest import Cluster


@pytest.fixture(params=["embedded", "debian"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found
