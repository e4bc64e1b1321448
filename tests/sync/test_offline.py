"""Two weeks without a store on a small disk, day after day in a second: nothing is lost, and the backlog drains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import audit, outbox
from appliance.errors import BucketTrouble
from appliance.settings import Settings
from model.plants import PLANTS, csv_bytes
from tests import disks
from tests.api.conftest import shelf
from tests.road.conftest import Road, api, road
from tests.road.conftest import settings as road_settings
from tests.sync.proxy import Proxy
from tests.sync.stores import KEYS, Store
from tests.unit.store import made

__all__ = ["api", "road", "road_settings", "shelf"]

# Minutes of ingestion and a mounted disk: beside the kills, not among the quick tests.
pytestmark = pytest.mark.faults

_DISK_MIB = 17
_ROWS = 4_000
_DAYS, _FILES_A_DAY = 14, 3
_FULLEST = 0.85


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small(tmp_path / "disk.img", tmp_path / "disk", _DISK_MIB) as folder:
        yield folder


@pytest.fixture
def settings(road_settings: Settings, small_disk: Path, store: Store, proxy: Proxy, tmp_path: Path) -> Settings:
    """A box whose data lie on the small disk, and whose models and keys do not take room there."""
    data = small_disk / "data"
    data.mkdir()
    for name in ("models", "keys"):
        (data / name).symlink_to(road_settings.data_dir / name)
    changed = {"data_dir": data, "s3_bucket": store.bucket(), "s3_endpoint": proxy.url, "s3_keys": KEYS}
    changed |= {"disk_reserve_percent": 40, "archive_days": 30, "part_rows": 100_000, "batch_rows": 100_000}
    return Settings(**(road_settings.model_dump() | changed))


def test_two_weeks_without_a_store_lose_nothing(
    road: Road, api: None, small_disk: Path, proxy: Proxy, store: Store
) -> None:
    contents, fullest, held = [], 0.0, 0
    proxy.mood = "cut"
    for day in range(_DAYS):
        for number in range(_FILES_A_DAY):
            contents.append(csv_bytes(PLANTS["milling"](), _ROWS, seed=100 * day + number))
            road.drop("milling", f"{day}-{number}.csv", contents[-1], "mill-1")
        done = road.ingest()
        held += done.files == 0
        road.predict()
        with pytest.raises(BucketTrouble):
            outbox.once(road.box, flush=True)
        fullest = max(fullest, disks.used(small_disk))
    assert 0 < held < _DAYS, "files were taken for some days, and had to wait on the others"
    waiting = road.waiting()
    assert waiting
    assert road.rows("SELECT count(*) AS n FROM file WHERE state IN ('synced', 'evicted')") == [{"n": 0}]

    proxy.well()
    for _ in range(2 * _DAYS):
        road.rows("UPDATE outbox SET next_try_at = clock_timestamp() RETURNING id")
        outbox.once(road.box, flush=True)
        road.ingest()
        road.predict()
        fullest = max(fullest, disks.used(small_disk))
        if not road.waiting():
            break
    road.rows("UPDATE outbox SET next_try_at = clock_timestamp() RETURNING id")
    assert outbox.once(road.box, flush=True).left == 0
    assert road.waiting() == []
    assert fullest <= _FULLEST, fullest

    rows = _DAYS * _FILES_A_DAY * _ROWS
    sums = road.rows(
        "SELECT count(*) AS files, sum(rows_in)::int AS rows, count(DISTINCT sha256) AS contents FROM file"
    )
    assert sums == [{"files": len(contents), "rows": rows, "contents": len(contents)}]
    known = {row["sha256"] for row in road.rows("SELECT sha256 FROM file")}
    assert known == {made.digest_of(data) for data in contents}, "byte for byte what the machines wrote"
    states = {row["state"] for row in road.rows("SELECT DISTINCT state FROM file")}
    assert states <= {"synced", "evicted"}
    assert not list(road.settings.archive.rglob("*.csv.1")), "something had to make way"
    assert road.broken_promises() == []
    compared = audit.run(road.box, read=True)
    assert (compared.differences, compared.waiting) == ([], 0)
