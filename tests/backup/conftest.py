"""A box with rows, a model, a profile and secrets; a place for its backups; and fresh boxes to restore them onto."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from sqlalchemy import text

from appliance import backup
from appliance.backup import Made
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import principals, refill
from tests.conftest import Cluster
from tests.unit.store import made

SECRET = "the-key-of-the-bucket"


@dataclass
class Stage:
    """Short words for what tests do with a box. Nothing of it stays connected."""

    settings: Settings
    home: Path

    def backup(self) -> Made:
        with self.opened() as box:
            return backup.once(box)

    def backup_later(self) -> Made:
        """Another one, in a later second."""
        time.sleep(1)
        return self.backup()

    def opened(self) -> _Opened:
        return _Opened(self.settings)

    def having(self, **changed: Any) -> Stage:
        return replace(self, settings=self.settings.model_copy(update=changed))

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.opened() as box, engines.transaction(box.engine) as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def change(self, query: str, **values: Any) -> None:
        with self.opened() as box, engines.transaction(box.engine) as connection:
            connection.execute(text(query), values)

    def predict(self, rows: int = 500) -> None:
        with self.opened() as box, engines.transaction(box.engine) as connection:
            plant = made.plant(connection)
            arrival = made.ingested(connection, plant.profile_id, [rows], bad=2)
            part = connection.execute(
                text("SELECT id FROM part WHERE file_id = :id"), {"id": arrival.file_id}
            ).scalar_one()
            made.predict(connection, plant, part)

    def told(self) -> dict[str, Any]:
        """What has to come back."""
        return {
            "predictions": self.rows("SELECT * FROM prediction ORDER BY id"),
            "machines": self.rows("SELECT * FROM machine ORDER BY id"),
            "files": self.rows("SELECT * FROM file ORDER BY id"),
            "tokens": self.rows("SELECT name, hash FROM token ORDER BY id"),
            "models": {
                str(path.relative_to(self.settings.models)): path.read_bytes()
                for path in sorted(self.settings.models.rglob("*"))
                if path.is_file()
            },
        }


class _Opened:
    def __init__(self, settings: Settings) -> None:
        self._box = Box(settings, engines.connect(settings.require_dsn(), "tests"))

    def __enter__(self) -> Box:
        return self._box

    def __exit__(self, *_: object) -> None:
        self._box.engine.dispose()


class Boxes:
    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self.databases: list[str] = []

    def fresh(self, name: str, place: Path | None = None, **more: Any) -> Stage:
        """A box that was set up just now."""
        home = self._folder / name
        for folder in ("data", "data/models", "profiles"):
            (home / folder).mkdir(parents=True)
        database = self._cluster.create()
        self.databases.append(database)
        settings = Settings(
            data_dir=home / "data",
            profiles_dir=home / "profiles",
            dsn=self._cluster.dsn(database),
            site="north",
            backup_to=str(place) if place else None,
            disk_reserve_mb=0,
            **more,
        )
        return Stage(settings, home)


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "appliance_s3_keys").write_text(SECRET)
    monkeypatch.setenv("APPLIANCE_SECRETS_DIR", str(folder))


@pytest.fixture
def owner(tmp_path: Path) -> Path:
    """The owner's private key, with the public one in a comment, as age-keygen writes it."""
    key = pyrage.x25519.Identity.generate()
    path = tmp_path / "owner.key"
    path.write_text(f"# public key: {key.to_public()}\n{key}\n")
    return path


def public(owner: Path) -> str:
    return owner.read_text().splitlines()[0].rpartition(" ")[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def boxes(cluster: Cluster, tmp_path: Path) -> Iterator[Boxes]:
    found = Boxes(cluster, tmp_path)
    yield found
    for name in found.databases:
        for ending in ("", refill.NEW, refill.OLD):
            cluster.drop(name + ending)


@pytest.fixture
def stage(boxes: Boxes, place: Path, owner: Path) -> Stage:
    stage = boxes.fresh("box", place, backup_recipient=public(owner))
    stage.predict()
    bundle = stage.settings.models / "milling" / "v1"
    bundle.mkdir(parents=True)
    (bundle / "model.onnx").write_bytes(b"a model")
    (bundle.parent / "active").write_text("v1")
    assert stage.settings.profiles_dir is not None
    (stage.settings.profiles_dir / "milling.toml").write_text("title = 'mills'")
    with stage.opened() as box, engines.transaction(box.engine) as connection:
        principals.create_token(connection, "kim", "viewer", "api")
    return stage
