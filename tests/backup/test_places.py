"""Backups in the bucket: confirmed by the store, read back, restored, and let go of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from appliance import backup, backup_drill, backup_places, bucket, outbox_send, restore
from appliance.errors import BackupTrouble, BucketTrouble
from tests.backup.conftest import Boxes, Stage
from tests.sync import proxy as proxies
from tests.sync import stores
from tests.sync.conftest import MIB, _alone
from tests.sync.proxy import Proxy
from tests.sync.stores import KEYS, Store

__all__ = ["_alone"]


@pytest.fixture(scope="module")
def store(_alone: None) -> Iterator[Store]:
    with stores.running(5 * MIB) as running:
        yield running


@pytest.fixture
def proxy(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(backup_places, "MIB", MIB)
    monkeypatch.setattr(outbox_send, "MIB", MIB)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    with proxies.before(store.url) as found:
        yield found


@pytest.fixture
def given(store: Store, proxy: Proxy) -> dict[str, Any]:
    s3 = {"s3_bucket": store.bucket(), "s3_endpoint": proxy.url, "s3_part_mb": 5}
    return {**s3, "s3_keys": SecretStr(KEYS), "backup_to": "s3"}


@pytest.fixture
def away(stage: Stage, given: dict[str, Any]) -> Stage:
    (stage.settings.models / "large.bin").write_bytes(os.urandom(12 * MIB))
    return stage.having(**given)


def test_a_backup_goes_to_the_bucket_and_comes_back(
    away: Stage, boxes: Boxes, store: Store, given: dict[str, Any]
) -> None:
    done = away.backup()
    keys = sorted(store.objects(given["s3_bucket"]))
    assert [key.rpartition("/")[2] for key in keys] == ["appliance.dump", "files.tar", "manifest.json", "secrets.age"]
    assert all(key.startswith(f"_backup/site=north/{done.name}/") for key in keys)
    assert {path.name for path in away.settings.backups.iterdir()} == {".lock", ".turn"}
    with away.opened() as box:
        assert backup_drill.once(box).name == done.name
    fresh = boxes.fresh("fresh").having(**given)
    assert restore.run(fresh.settings, done.name).rows == done.rows
    assert fresh.told() == away.told()


def test_old_ones_go_and_a_changed_one_is_found(away: Stage, store: Store, given: dict[str, Any]) -> None:
    kept = away.having(backup_days=1, backup_weeks=0, backup_months=0)
    first = kept.backup()
    second = kept.backup_later()
    assert second.removed == [first.name]
    assert {key.split("/")[2] for key in store.objects(given["s3_bucket"])} == {second.name}
    key = f"_backup/site=north/{second.name}/files.tar"
    store.client.put_object(Bucket=given["s3_bucket"], Key=key, Body=b"other bytes")
    with kept.opened() as box:
        _, wrong = backup.verify(box, backup_places.of(kept.settings), second.name)
    assert wrong == [f"{second.name}/files.tar is not what it was when it was made."]
    with pytest.raises(BackupTrouble, match=r"files\.tar"):
        restore.run(kept.settings, second.name, dry_run=True)


@pytest.mark.parametrize(("mood", "file"), [("500", "manifest"), ("full", "files"), ("revoked", "appliance")])
def test_a_store_that_fails_has_no_half_of_a_backup(away: Stage, proxy: Proxy, mood: Any, file: str) -> None:
    proxy.mood, proxy.meant = mood, lambda request: request.is_put and file in request.path
    with pytest.raises(BucketTrouble):
        away.backup()
    proxy.well()
    assert away.rows("SELECT count(*) FROM backup") == [(0,)]
    assert {path.name for path in away.settings.backups.iterdir()} <= {".lock", ".turn"}
    with away.opened() as box:
        assert backup_places.of(away.settings).names() == []
        assert backup.newest(box.engine, backup_places.of(away.settings)) is None


def test_what_is_not_there_is_named(away: Stage) -> None:
    with pytest.raises(BackupTrouble, match="There is no appliance-north-1"):
        restore.run(away.settings, "appliance-north-1")
