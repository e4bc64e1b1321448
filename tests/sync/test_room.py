"""What makes way when the disk is short, and what never does; what waits then, and goes on by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance import maintain, outbox, room
from appliance.room import Room
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import retention, writer
from tests.api.conftest import shelf
from tests.road.conftest import Road, mill, road, settings
from tests.sync.conftest import Stage
from tests.unit.store import made

__all__ = ["mill", "road", "settings", "shelf"]


@dataclass
class Disk:
    """A disk of which the data folder takes all that lies in it; ``size`` bytes, of which a tenth is kept free."""

    size: int

    def look(self, settings: Settings) -> Room:
        used = sum(path.stat().st_size for path in settings.data_dir.rglob("*") if path.is_file())
        return Room(self.size - used, self.size, self.size // 10)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk(1 << 40)
    monkeypatch.setattr(room, "look", found.look)
    return found


def original(stage: Stage, file_id: int, size: int, days: int = 0) -> Path:
    """The original of a file as it lies in the archive."""
    ((arrival, day),) = stage.rows("SELECT arrival_id, day FROM file WHERE id = :id", id=file_id)
    folder = stage.settings.archive / "profile=milling" / f"date={day - timedelta(days=days)}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"a.csv.{arrival}"
    path.write_bytes(bytes(size))
    return path


def good(stage: Stage, file_id: int) -> Path:
    return next((stage.settings.data_dir / "good_data").rglob(f"{file_id}.parquet"), Path("/absent"))


def states(stage: Stage) -> list[str]:
    return [row[0] for row in stage.rows("SELECT state FROM file ORDER BY id")]


def test_with_room_nothing_makes_way(stage: Stage, disk: Disk) -> None:
    file_id = stage.file()
    kept = original(stage, file_id, 100)
    stage.predict()
    stage.sync()
    assert room.shortage(stage.settings, stage.engine) == ""
    assert kept.exists()


def test_originals_make_way_first_and_then_good_rows_and_no_more_than_is_needed(stage: Stage, disk: Disk) -> None:
    files = [stage.file(bytes([65 + n]) * 1_000) for n in range(3)]
    kept = [original(stage, file_id, 1_000, days=n) for n, file_id in enumerate(files)]
    stage.predict()
    stage.sync()
    used = disk.size - disk.look(stage.settings).free
    disk.size = (used - 1_500) * 10 // 9
    assert room.shortage(stage.settings, stage.engine) == ""
    assert [path.exists() for path in kept] == [True, False, False], "the oldest go first"
    assert [good(stage, number).exists() for number in files] == [True] * 3
    disk.size = 100
    assert room.shortage(stage.settings, stage.engine) == ""
    assert not kept[0].exists()
    assert [good(stage, number).exists() for number in files] == [False] * 3
    assert states(stage) == ["evicted"] * 3
    assert stage.is_exact


def test_what_is_not_in_the_bucket_never_makes_way(stage: Stage, disk: Disk) -> None:
    copied, predicted, waiting = stage.file(b"one"), stage.file(b"two"), stage.file(b"three", b"bad rows")
    kept = [original(stage, number, 10) for number in (copied, predicted, waiting)]
    stage.predict()
    stage.sync()
    stage.change("UPDATE outbox SET verified_at = NULL WHERE file_id = :id", id=predicted)
    stage.change("UPDATE outbox SET verified_at = NULL WHERE file_id = :id AND layer = 'bad'", id=waiting)
    stage.change("UPDATE file SET state = 'predicted' WHERE id <> :id", id=copied)
    disk.size = 1
    assert "All that the bucket has made way" in room.shortage(stage.settings, stage.engine)
    assert [path.exists() for path in kept] == [False, True, True]
    assert [good(stage, number).exists() for number in (copied, predicted, waiting)] == [False, True, True]
    assert len(list((stage.settings.data_dir / "bad_data").rglob("*.csv"))) == 1


def test_without_a_bucket_nothing_makes_way_and_that_is_said(stage: Stage, disk: Disk) -> None:
    alone = stage.having(s3_bucket=None)
    file_id = stage.file()
    kept = original(stage, file_id, 10)
    stage.predict()
    disk.size = 1
    assert "No bucket is set" in room.shortage(alone.settings, stage.engine)
    assert kept.exists()
    assert good(stage, file_id).exists()


def test_what_a_kill_left_of_an_evicted_file_goes_the_next_time(stage: Stage, disk: Disk) -> None:
    file_id = stage.file()
    stage.predict()
    stage.sync()
    stage.change("UPDATE file SET state = 'evicted'")
    disk.size = 1
    room.make(stage.settings, stage.engine)
    assert not good(stage, file_id).exists()


def predicted_months_ago(stage: Stage, months: int) -> None:
    when = datetime.now(UTC).replace(day=15)
    for _ in range(months):
        when = (when.replace(day=1) - timedelta(days=1)).replace(day=15)
    with engines.transaction(stage.engine) as connection:
        writer.write_predictions(connection, made.batch(stage.plant, 3), when)


def months(stage: Stage) -> int:
    with engines.transaction(stage.engine) as connection:
        now = retention.now_of(connection)
        return sum(month.end <= now for month in retention.months(connection))


def test_months_make_way_last_and_only_where_it_helps(
    stage: Stage, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ago in (4, 3, 2):
        predicted_months_ago(stage, ago)
    before = months(stage)
    disk.size = 1
    assert room.make(stage.settings, stage.engine).months == [], "not in the bucket yet"
    stage.sync()
    assert len(room.make(stage.settings, stage.engine).months) == 1, "the database lies on another disk"
    free = [0]

    def freer(settings: Settings) -> Room:
        free[0] += 1 << 20
        return Room(free[0], 1 << 40, 1 << 39)

    monkeypatch.setattr(room, "look", freer)
    assert len(room.make(stage.settings, stage.engine).months) == before - 1
    assert months(stage) == 0


def test_age_waits_for_the_bucket_where_one_is_set(stage: Stage) -> None:
    old = stage.having(archive_days=1, prediction_days=1)
    predicted_months_ago(stage, 3)
    file_id = stage.file()
    kept = original(stage, file_id, 10, days=9)
    stage.change("UPDATE file SET day = day - 9")
    stage.change("UPDATE arrival SET arrived_at = arrived_at - interval '9 days'")
    done = maintain.remove_old_predictions(old.box)
    assert (done["months"], months(stage) > 0) == ([], True)
    assert "not_copied_yet" in done
    assert maintain.remove_old_files(old.box)["not_copied_yet"] == 1
    assert kept.exists()
    stage.predict()
    stage.sync()
    assert maintain.remove_old_predictions(old.box)["months"]
    assert months(stage) == 0
    maintain.remove_old_files(old.box)
    assert not kept.exists()


def test_age_decides_alone_where_no_bucket_is_set(stage: Stage) -> None:
    alone = stage.having(archive_days=1, prediction_days=1, s3_bucket=None)
    predicted_months_ago(stage, 3)
    kept = original(stage, stage.file(), 10, days=9)
    stage.change("UPDATE file SET day = day - 9")
    stage.change("UPDATE arrival SET arrived_at = arrived_at - interval '9 days'")
    maintain.remove_old_predictions(alone.box)
    maintain.remove_old_files(alone.box)
    assert (months(stage), kept.exists()) == (0, False)


def test_files_wait_while_there_is_no_room_and_are_taken_by_itself(
    road: Road, mill: bytes, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    disk.size = 1
    for _ in range(3):
        done = road.ingest()
        assert (done.files, done.left) == (0, 1)
    assert road.waiting() == ["a.csv"]
    (why,) = {row["why"] for row in road.rows("SELECT why FROM run WHERE outcome = 'skipped'")}
    assert "files wait in the drop folder" in why
    assert road.rows("SELECT count(*) AS n FROM notice WHERE kind = 'event'") == [{"n": 1}], "people are told once"
    disk.size = 1 << 40
    assert road.ingest().files == 1
    assert road.broken_promises() == []


def test_the_message_says_how_long_the_disk_lasts(stage: Stage, disk: Disk) -> None:
    stage.file()
    disk.size = 1
    assert "days" not in room.shortage(stage.settings.model_copy(update={"s3_bucket": "x-y"}), stage.engine)
    for day in range(5):
        stage.change(
            "INSERT INTO metric (at, name, value) VALUES (clock_timestamp() - make_interval(days => :day),"
            " 'box_disk_free_bytes', :free)",
            day=day,
            free=10e9 + day * 1e9,
        )
    assert "full in 10 days" in room.shortage(stage.settings, stage.engine)


def test_the_reserve_is_the_smaller_of_a_part_and_an_amount(tmp_path: Path) -> None:
    size = room.look(Settings(data_dir=tmp_path)).size

    def asked(percent: int, mib: int) -> int:
        nowhere_yet = tmp_path / "new" / "folder"
        return room.look(Settings(data_dir=nowhere_yet, disk_reserve_percent=percent, disk_reserve_mb=mib)).reserve

    assert asked(10, 1 << 40) == size // 10
    assert asked(90, 1) == 1 << 20
    assert asked(0, 100) == 0


def test_copying_goes_on_while_files_wait(stage: Stage, disk: Disk) -> None:
    stage.file()
    stage.predict()
    disk.size = 1
    assert outbox.once(stage.box).sent == 2
