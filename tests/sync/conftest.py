"""A box with files, predictions and outcomes, a store, and a proxy between them that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from appliance import bucket, outbox, outbox_send
from appliance.outbox import Synced
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import alarms, ledger, parts
from appliance.store import engine as engines
from tests.sync import proxy as proxies
from tests.sync import quick, stores
from tests.sync.proxy import Proxy
from tests.sync.stores import KEYS, Store
from tests.unit.store import made

# What tests take for a MiB, so that a file in parts is a small one.
MIB = 8 << 10
_SMALLEST = 5 * MIB


@pytest.fixture(scope="session", autouse=True)
def _alone() -> Iterator[None]:
    """Keys, files and proxies of whoever runs the tests have no business here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False)
        quick.clients()
        yield


@pytest.fixture(scope="session")
def store(_alone: None) -> Iterator[Store]:
    with stores.running(_SMALLEST) as running:
        yield running


@pytest.fixture(scope="session")
def _proxy(store: Store) -> Iterator[Proxy]:
    with proxies.before(store.url) as found:
        yield found


@pytest.fixture
def proxy(_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(outbox_send, "MIB", MIB)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "ANSWER_SECONDS", 5)
    _proxy.well()
    yield _proxy
    _proxy.well()


@dataclass
class Stage:
    """Short words for what tests do with a box and its bucket."""

    settings: Settings
    engine: Engine
    plant: made.Plant
    store: Store

    @property
    def box(self) -> Box:
        return Box(self.settings, self.engine)

    def having(self, **changed: Any) -> Stage:
        return replace(self, settings=self.settings.model_copy(update=changed))

    def sync(self, **how: Any) -> Synced:
        return outbox.once(self.box, **how)

    def file(self, good: bytes = b"good rows", bad: bytes = b"", *, rows: int = 3, **more: Any) -> int:
        """A file whose rows lie on the disk with these bytes; the number that it has."""
        with engines.transaction(self.engine) as connection:
            arrival = made.claimed(connection, self.plant.profile_id, **more)
            paths = []
            for data, place in ((good, "good_data"), (bad, "bad_data")):
                suffix = "parquet" if place == "good_data" else "csv"
                path = f"{place}/profile=milling/date={arrival.day}/{arrival.file_id}.{suffix}"
                if data:
                    whole = self.settings.data_dir / path
                    whole.parent.mkdir(parents=True, exist_ok=True)
                    whole.write_bytes(data)
                paths.append(path if data else None)
            record = replace(made.record(rows if good else 0, 2 if bad else 0), good_path=paths[0], bad_path=paths[1])
            ledger.ingested(connection, arrival, record, [], [rows] if good else [])
            return arrival.file_id

    def predict(self) -> None:
        """All parts that wait."""
        with engines.transaction(self.engine) as connection:
            for part in parts.waiting_parts(connection, 100):
                made.predict(connection, self.plant, part.id)

    def outcome(self, note: str = "the belt tore") -> int:
        with engines.transaction(self.engine) as connection:
            machine = self.plant.machines[0]
            return alarms.record_outcome(connection, machine, datetime.now(UTC), "failure", "kim", note, {"p": 0.5})

    def objects(self) -> dict[str, bytes]:
        assert self.settings.s3_bucket is not None
        return self.store.objects(self.settings.s3_bucket)

    def layers(self) -> list[str]:
        """The layers of the objects in the bucket, each as often as it has some."""
        return sorted(key.split("/")[0].removeprefix("layer=") for key in self.objects())

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with engines.transaction(self.engine) as connection:
            return [tuple(row) for row in connection.execute(text(query), parameters)]

    def change(self, query: str, **parameters: Any) -> None:
        with engines.transaction(self.engine) as connection:
            connection.execute(text(query), parameters)

    def hurry(self) -> None:
        """Pauses are over."""
        self.change("UPDATE outbox SET next_try_at = clock_timestamp()")

    def waiting(self) -> int:
        return int(self.rows("SELECT count(*) FROM outbox WHERE verified_at IS NULL")[0][0])

    def made_here(self) -> list[str]:
        """Files that were made for the bucket and are still here."""
        return sorted(path.name for path in self.settings.outbox.iterdir() if path.name != ".lock")

    @property
    def is_exact(self) -> bool:
        """Whether the bucket has exactly what the ledger says, byte for byte, and no upload that did not end."""
        wanted = dict(self.rows("SELECT key, sha256 FROM outbox WHERE verified_at IS NOT NULL"))
        found = {key: made.digest_of(data) for key, data in self.objects().items()}
        assert self.settings.s3_bucket is not None
        return wanted == found and not self.store.uploads(self.settings.s3_bucket)


@pytest.fixture
def stage(engine: Engine, dsn: str, tmp_path: Path, store: Store, proxy: Proxy) -> Stage:
    with engines.transaction(engine) as connection:
        plant = made.plant(connection)
    settings = Settings(
        data_dir=tmp_path / "data",
        dsn=dsn,
        site="north",
        s3_bucket=store.bucket(),
        s3_endpoint=proxy.url,
        s3_keys=KEYS,
        s3_part_mb=5,
    )
    return Stage(settings, engine, plant, store)


@pytest.fixture
def large() -> bytes:
    """As much as goes in three parts."""
    return np.random.default_rng(7).bytes(12 * MIB)
