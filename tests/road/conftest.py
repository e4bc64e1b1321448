"""A box with both profiles and a running API: what the road is walked on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from appliance import pipeline
from appliance.api.app import create_app
from appliance.pipeline import Box, Ingested, PartsPredicted
from appliance.settings import Settings
from appliance.store import accounts
from appliance.store import engine as engines
from model.plants import PLANTS, csv_bytes
from tests.api.conftest import Shelf, box, make_token, running, shelf

__all__ = ["shelf"]


@dataclass
class Road:
    """The box, and short words for what tests do with it."""

    settings: Settings
    engine: Engine
    box: Box

    def drop(self, profile: str, name: str, data: bytes, machine: str = "") -> Path:
        """Put a file where a machine would: aside, then renamed."""
        folder = self.settings.raw / profile / machine
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{name}"
        aside.write_bytes(data)
        return aside.rename(folder / name)

    def ingest(self) -> Ingested:
        return pipeline.ingest(self.box)

    def predict(self) -> PartsPredicted:
        return pipeline.predict(self.box)

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with engines.transaction(self.engine) as connection:
            return [dict(row) for row in connection.execute(text(query), parameters).mappings()]

    def broken_promises(self) -> list[str]:
        with engines.transaction(self.engine) as connection:
            return [violation.sentence for violation in accounts.violations(connection)]

    def waiting(self) -> list[str]:
        """What still lies in the drop folder."""
        return sorted(p.name for p in self.settings.raw.rglob("*") if not p.is_dir())

    def manifest(self, path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def settings(tmp_path: Path, dsn: str, shelf: Shelf) -> Settings:
    return box(tmp_path / "box", dsn, shelf).model_copy(
        update={"settle_seconds": 0.0, "part_rows": 70, "batch_rows": 50, "api_socket": tmp_path / "api.sock"}
    )


@pytest.fixture
def road(settings: Settings, engine: Engine) -> Iterator[Road]:
    token = make_token(engine, "operator", "scheduled")
    settings = Settings(**(settings.model_dump() | {"api_token": token}))
    settings.raw.mkdir()
    yield Road(settings, engine, Box(settings, engine))
    shutil.rmtree(settings.raw, ignore_errors=True)


@pytest.fixture
def api(road: Road) -> Iterator[None]:
    """The API in a real server on the box's socket."""
    assert road.settings.api_socket is not None
    with running(create_app(road.settings, road.engine), road.settings.api_socket):
        yield


@pytest.fixture
def mill() -> bytes:
    """160 rows of a mill, all good."""
    return csv_bytes(PLANTS["milling"](), 160, seed=7)
