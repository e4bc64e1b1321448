"""A disk that is full, under the data folder, under what PostgreSQL writes ahead, or under both: nothing is torn or lost,
files stay where they are, it is said in a sentence, and with room again all of it goes on by itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from appliance import audit, outbox
from appliance.errors import ApiAway, ApplianceError, DiskTrouble, StoreAway
from appliance.settings import Settings
from appliance.store import embedded, migrations
from model.plants import PLANTS, csv_bytes
from tests import disks
from tests.api.conftest import shelf
from tests.road.conftest import Road, api, road
from tests.road.conftest import settings as road_settings
from tests.sync.proxy import Proxy
from tests.sync.stores import KEYS, Store
from tests.unit.store import made

__all__ = ["api", "road", "road_settings", "shelf"]

# Disks to be mounted and a server that falls over: beside the kills, not among the quick tests.
pytestmark = pytest.mark.faults

Where = Literal["data", "ahead", "both"]
_ROWS = 400
_PASSES = 40
_BACK_SECONDS = 60.0


@dataclass
class Plant:
    """A server of its own, and the disk that is to be full. ``back``: what systemd does with a server that fell over."""

    where: Where
    disk: Path
    folder: Path
    server: embedded.Server

    def back(self) -> None:
        until = time.monotonic() + _BACK_SECONDS
        while True:
            if self.server.guard.poll() is not None:
                self.server = _serve(self.folder)
            try:
                migrations.migrate(self.server.dsn)
                return
            except StoreAway:
                assert time.monotonic() < until
                time.sleep(0.2)


def _serve(folder: Path) -> embedded.Server:
    # As small as may be: the first rows after the disk is full need a new piece.
    return embedded.start(folder, options={"max_wal_size": "4MB", "min_wal_size": "2MB", "wal_recycle": "off"})


@pytest.fixture(params=["data", "ahead", "both"])
def plant(request: pytest.FixtureRequest, open_path: Path) -> Iterator[Plant]:
    where: Where = request.param
    with disks.small(open_path / "disk.img", open_path / "disk", 130 if where == "both" else 24) as disk:
        folder = (disk if where == "both" else open_path) / "db"
        embedded.start(folder).stop()
        disks.write_ahead_in_small_pieces(folder)
        ahead = folder / "data" / "pg_wal"
        if where == "ahead":
            shutil.copystat(ahead.parent, disk)
            status = ahead.parent.stat()
            _moved(ahead, disk / "pg_wal", status.st_uid, status.st_gid)
        found = Plant(where, disk, folder, _serve(folder))
        migrations.migrate(found.server.dsn)
        yield found
        found.server.stop()


def _moved(folder: Path, there: Path, uid: int, gid: int) -> None:
    """The folder on another disk, with a link where it was."""
    shutil.copytree(folder, there)
    shutil.rmtree(folder)
    folder.symlink_to(there)
    for path in (there.parent, there, *there.rglob("*")):
        shutil.chown(path, uid, gid)


@pytest.fixture
def dsn(plant: Plant) -> str:
    return plant.server.dsn


@pytest.fixture
def settings(road_settings: Settings, plant: Plant, store: Store, proxy: Proxy) -> Settings:
    """A box whose data lie on the small disk, where that is to be filled, and whose models do not."""
    changed = {"s3_bucket": store.bucket(), "s3_endpoint": proxy.url, "s3_keys": KEYS, "disk_reserve_percent": 0}
    if plant.where != "ahead":
        data = plant.disk / "data"
        data.mkdir()
        for name in ("models", "keys"):
            (data / name).symlink_to(road_settings.data_dir / name)
        changed["data_dir"] = data
    return Settings(**(road_settings.model_dump() | changed))


def steps(road: Road) -> dict[str, Callable[[], object]]:
    return {"ingest": road.ingest, "predict": road.predict, "sync": lambda: outbox.once(road.box, flush=True, now=True)}


@contextmanager
def full(disk: Path) -> Iterator[None]:
    filler = disks.fill(disk)
    try:
        yield
    finally:
        filler.unlink()


def test_nothing_is_lost_and_it_goes_on_by_itself(plant: Plant, road: Road, api: None) -> None:
    contents = [csv_bytes(PLANTS["milling"](), _ROWS, seed=number) for number in range(12)]
    for number, data in enumerate(contents[:2]):
        road.drop("milling", f"before-{number}.csv", data, "mill-1")
    for step in steps(road).values():
        step()
    # One that was taken in, and waits for its prediction when the disk is full.
    road.drop("milling", "between.csv", contents[2], "mill-1")
    road.ingest()
    for number, data in enumerate(contents[3:]):
        road.drop("milling", f"later-{number}.csv", data, "mill-1")

    troubles: list[ApplianceError] = []
    # Airflow's database is on the same server, and writes ahead too: how much room is left there is nobody's to know.
    others = {"others": lambda: road.rows("SELECT pg_switch_wal()")} if plant.where != "data" else {}
    with full(plant.disk):
        for _ in range(_PASSES):
            for step in (steps(road) | others).values():
                try:
                    step()
                except ApplianceError as trouble:
                    troubles.append(trouble)
            if len(troubles) > 3:
                break
    assert troubles, "the disk was full, and nobody noticed"
    for trouble in troubles:
        assert isinstance(trouble, (DiskTrouble, StoreAway, ApiAway))
        assert "\n" not in str(trouble)
        assert trouble.way_out
    if plant.where == "data":
        assert any(trouble.message == "The disk is full." for trouble in troubles)
        assert len(road.waiting()) == len(contents) - 3, "files stay where they are"
    assert not list(road.settings.bad.rglob("quarantine/*")), "it is no fault of the files"

    plant.back()
    for _ in range(_PASSES):
        for step in steps(road).values():
            step()
        if not road.waiting() and not road.rows("SELECT FROM part WHERE state <> 'predicted'"):
            break
    outbox.once(road.box, flush=True, now=True)
    sums = road.rows("SELECT count(*) AS files, sum(rows_in)::int AS rows, sum(rows_bad)::int AS bad FROM file")
    assert sums == [{"files": len(contents), "rows": len(contents) * _ROWS, "bad": 0}]
    assert {row["sha256"] for row in road.rows("SELECT sha256 FROM file")} == {made.digest_of(one) for one in contents}
    assert road.rows("SELECT count(*)::int AS n FROM prediction") == [{"n": len(contents) * _ROWS}]
    assert road.waiting() == []
    assert road.broken_promises() == []
    assert {row["state"] for row in road.rows("SELECT DISTINCT state FROM file")} == {"synced"}
    compared = audit.run(road.box, read=True)
    assert (compared.differences, compared.waiting) == ([], 0)
    left = [path.name for path in road.settings.work.iterdir() if not path.name.startswith(".")]
    assert left == []


@pytest.mark.parametrize("plant", ["data", "both"], indirect=True)
def test_files_wait_while_the_reserve_is_touched_and_people_are_told(road: Road, api: None, plant: Plant) -> None:
    settings = road.settings.model_copy(update={"disk_reserve_percent": 10})
    holding = Road(settings, road.engine, type(road.box)(settings, road.engine))
    holding.drop("milling", "one.csv", csv_bytes(PLANTS["milling"](), _ROWS, seed=1), "mill-1")
    filler = disks.fill(plant.disk, leave=1 << 20)
    assert (holding.ingest().files, holding.waiting()) == (0, ["one.csv"])
    assert holding.rows("SELECT kind FROM event WHERE kind = 'ingest_held'") == [{"kind": "ingest_held"}]
    filler.unlink()
    assert holding.ingest().files == 1
    assert holding.predict().rows == _ROWS
    assert holding.broken_promises() == []
