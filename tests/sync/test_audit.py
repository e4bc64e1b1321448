"""Box and bucket, compared: nothing is said where they are the same, and each difference is named."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from appliance import audit, outbox, signing, statements
from appliance.audit import Audited
from appliance.checks import Context
from appliance.checks import audit as check
from tests.cli.test_commands import Command, command
from tests.sync.conftest import Stage
from tests.sync.test_cli import copying

__all__ = ["command", "copying"]


@pytest.fixture
def copied(stage: Stage) -> Stage:
    """With five objects of all layers in the bucket."""
    stage.file(b"good one", b"bad one")
    stage.file(b"good two")
    stage.predict()
    stage.outcome()
    assert stage.sync().sent == 5
    return stage


def found(done: Audited) -> list[tuple[str, str]]:
    return [(one.kind, one.what) for one in done.differences]


def keys(stage: Stage, layer: str) -> list[str]:
    return sorted(key for key in stage.objects() if key.startswith(f"layer={layer}/"))


def manifest(stage: Stage) -> tuple[str, Any]:
    ((key, data),) = [(key, data) for key, data in stage.objects().items() if key.startswith("_manifest/")]
    return key, data


def put(stage: Stage, key: str, data: bytes) -> None:
    stage.store.client.put_object(Bucket=stage.settings.s3_bucket, Key=key, Body=data)


def delete(stage: Stage, key: str) -> None:
    stage.store.client.delete_object(Bucket=stage.settings.s3_bucket, Key=key)


@pytest.mark.parametrize("read", [False, True])
def test_a_bucket_that_is_as_the_ledger_says_is_signed_for(copied: Stage, read: bool) -> None:
    done = audit.run(copied.box, read=read)
    assert (done.objects, done.waiting, done.manifests, found(done)) == (5, 0, 1, [])
    key, data = manifest(copied)
    today = datetime.now(UTC).date()
    assert key == f"_manifest/site=north/date={today}.json"
    said = statements.opened(data, statements.public_key(copied.settings))
    assert (said["site"], said["day"], said["count"]) == ("north", str(today), 5)
    ledger = copied.rows("SELECT key, size, sha256 FROM outbox ORDER BY key")
    assert [(one["key"], one["bytes"], one["sha256"]) for one in said["objects"]] == ledger
    assert said["bytes"] == done.bytes == sum(size for _, size, _ in ledger)


def test_nothing_new_is_not_signed_again(copied: Stage) -> None:
    audit.run(copied.box)
    before = manifest(copied)
    done = audit.run(copied.box, read=True)
    assert (done.manifests, found(done), manifest(copied)) == (0, [], before)
    copied.file(b"good three")
    copied.sync()
    assert audit.run(copied.box).manifests == 1
    assert manifest(copied) != before


def test_what_waits_is_no_difference(copied: Stage) -> None:
    copied.file(b"good three")
    with audit.engines.transaction(copied.engine) as connection:
        outbox.store.gather(connection)
    done = audit.run(copied.box)
    assert (done.waiting, found(done)) == (1, [])
    assert "1 more to be copied" in done.sentence()


def test_what_came_over_and_is_not_confirmed_yet_is_no_difference(copied: Stage) -> None:
    copied.change("UPDATE outbox SET verified_at = NULL WHERE layer = 'bad'")
    done = audit.run(copied.box)
    assert (done.objects, done.waiting, found(done)) == (4, 1, [])


def test_each_difference_is_named(copied: Stage) -> None:
    lost, other = keys(copied, "good")
    delete(copied, lost)
    put(copied, other, b"good 2wo")
    stranger = f"{lost.rpartition('/')[0]}/999-abc.parquet"
    put(copied, stranger, b"x")
    foreign = "layer=good/profile=lathe/site=north/date=2026-01-01/1-abc.parquet"
    put(copied, foreign, b"x")
    put(copied, "layer=good/profile=milling/site=south/date=2026-01-01/1-abc.parquet", b"another plant's")
    (bad,) = (copied.settings.data_dir / "bad_data").rglob("*.csv")
    bad.write_bytes(b"bad one and more")
    done = audit.run(copied.box)
    assert sorted(found(done)) == sorted(
        [
            ("missing", lost),
            ("differs", other),
            ("unknown", stranger),
            ("unknown", foreign),
            ("changed", str(bad.relative_to(copied.settings.data_dir))),
        ]
    )
    assert done.manifests == 0, "a day with a difference is not signed for"


def test_bytes_that_changed_under_the_same_size_and_etag_are_found_by_reading(copied: Stage) -> None:
    key = keys(copied, "good")[0]
    copied.change("UPDATE outbox SET sha256 = :other WHERE key = :key", other="0" * 64, key=key)
    (good,) = [path for path in (copied.settings.data_dir / "good_data").rglob("*.parquet") if path.stem == "2"]
    good.write_bytes(b"good 2wo")
    assert found(audit.run(copied.box)) == []
    assert [kind for kind, _ in found(audit.run(copied.box, read=True))].count("changed") == 2
    assert ("differs", key) in found(audit.run(copied.box, read=True))


def test_a_file_that_vanished_from_the_box_is_named_unless_it_was_let_go_of(copied: Stage) -> None:
    for path in (copied.settings.data_dir / "good_data").rglob("*.parquet"):
        path.unlink()
    assert [kind for kind, _ in found(audit.run(copied.box))] == ["gone", "gone"]
    copied.change("UPDATE file SET state = 'evicted'")
    assert found(audit.run(copied.box)) == []


def test_differences_are_mended_by_copying_again(copied: Stage) -> None:
    delete(copied, keys(copied, "good")[0])
    put(copied, keys(copied, "predictions")[0], b"x")
    assert len(found(audit.run(copied.box))) == 2
    outbox.again(copied.box, date.min, date.max)
    copied.sync()
    assert found(audit.run(copied.box, read=True)) == []


def test_a_manifest_that_is_gone_or_was_written_by_another_is_named_once_and_mended(copied: Stage) -> None:
    audit.run(copied.box)
    key, data = manifest(copied)
    envelope = json.loads(data)
    envelope["manifest"]["count"] = 4
    put(copied, key, json.dumps(envelope).encode())
    assert found(audit.run(copied.box)) == [("manifest", key)]
    assert found(audit.run(copied.box, read=True)) == []
    delete(copied, key)
    assert found(audit.run(copied.box)) == [("manifest", key)]
    assert found(audit.run(copied.box, read=True)) == []


def test_a_manifest_whose_writer_was_killed_is_taken_for_ours(copied: Stage) -> None:
    audit.run(copied.box)
    copied.change("DELETE FROM manifest")
    done = audit.run(copied.box)
    assert (found(done), done.manifests) == ([], 1)


def test_a_ledger_that_lost_what_was_signed_for_is_found(copied: Stage) -> None:
    """As after a backup of yesterday was put back."""
    audit.run(copied.box)
    lost = keys(copied, "good")[0]
    copied.change("DELETE FROM outbox WHERE key = :key", key=lost)
    done = audit.run(copied.box, read=True)
    assert sorted(found(done)) == [("manifest", manifest(copied)[0]), ("unknown", lost)]


def test_another_bucket_that_holds_copies_is_named(copied: Stage) -> None:
    other = copied.having(s3_bucket=copied.store.bucket())
    done = audit.run(other.box)
    assert [kind for kind, _ in found(done)] == ["elsewhere"]


def test_people_are_told_once_a_day_and_the_doctor_knows(copied: Stage) -> None:
    context = Context(copied.settings, copied.engine, None, datetime.now(UTC))
    audit.run(copied.box)
    assert check.check(context) == []
    delete(copied, keys(copied, "good")[0])
    for _ in range(2):
        audit.run(copied.box)
    assert copied.rows("SELECT count(*) FROM event WHERE kind = 'audit_differs'") == [(1,)]
    assert copied.rows("SELECT count(*) FROM notice WHERE kind = 'event'") == [(1,)]
    (fault,) = check.check(context)
    assert (fault.severity, "is not in the bucket" in fault.sentence) == ("fault", True)


def test_a_manifest_by_another_key_is_refused(copied: Stage, tmp_path: Any) -> None:
    audit.run(copied.box)
    _, data = manifest(copied)
    signing.create_key(tmp_path / "other.key")
    with pytest.raises(ValueError, match="not signed"):
        statements.opened(data, signing.public_key(tmp_path / "other.key"))
    with pytest.raises(ValueError, match="not signed"):
        statements.opened(b"[]", statements.public_key(copied.settings))


def test_the_command_names_differences_and_ends_with_1(copying: Command, copied: Stage) -> None:
    told = json.loads(copying("audit", "--json").stdout)
    assert (told["objects"], told["differences"]) == (5, [])
    assert base64.b64decode(told["public_key"]) == statements.public_key(copied.settings).public_bytes_raw()
    lost = keys(copied, "good")[0]
    delete(copied, lost)
    said = copying("audit", code=1).stdout.splitlines()
    assert said[0] == f"{lost} is not in the bucket."
    assert "1 difference;" in said[-1]


def test_without_a_bucket_there_is_nothing_to_compare(command: Command) -> None:
    assert command("audit").stdout == "No bucket is set: there is nothing to compare.\n"
