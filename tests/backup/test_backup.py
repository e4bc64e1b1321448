"""Making backups: what is in one, where it may go, which stay, and what a kill or a full disk leaves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import backup, backup_files, backup_manifest, backup_places, restore
from appliance.errors import BackupTrouble, Conflict, SettingError
from appliance.store import dump
from tests.backup.conftest import SECRET, Boxes, Stage


def test_a_backup_holds_all_and_nobody_but_the_owner_reads_its_secrets(stage: Stage, place: Path, owner: Path) -> None:
    done = stage.backup()
    folder = place / done.name
    assert {path.name for path in folder.iterdir()} == {
        "appliance.dump",
        "files.tar",
        "secrets.age",
        "manifest.json",
    }
    assert folder.stat().st_mode & 0o077 == 0
    assert done.secrets
    assert done.rows > 500
    for path in folder.iterdir():
        assert SECRET.encode() not in path.read_bytes()
    secrets = backup_files.open_secrets((folder / "secrets.age").read_bytes(), owner)
    assert secrets["secrets/appliance_s3_keys"] == SECRET.encode()
    assert "outbox/audit.key" in secrets
    read = backup_manifest.read((folder / "manifest.json").read_bytes(), done.name)
    assert read.sha256 == done.sha256
    assert read.manifest.databases["appliance"].tables["public.token"].rows == 1
    ((name, secrets_in, verified, damage),) = stage.rows("SELECT name, secrets, verified_at, damage FROM backup")
    assert (name, secrets_in, damage) == (done.name, True, None)
    assert verified is not None


def test_without_a_key_secrets_stay_out_and_it_is_said(stage: Stage, place: Path) -> None:
    done = stage.having(backup_recipient=None).backup()
    assert not (place / done.name / "secrets.age").exists()
    assert done.sentence().endswith(backup.NO_SECRETS)


def test_a_key_that_is_none_is_refused_and_nothing_is_left(stage: Stage, place: Path) -> None:
    with pytest.raises(SettingError, match="backup_recipient"):
        stage.having(backup_recipient="age1" + "q" * 58).backup()
    assert [path for path in place.iterdir() if path.name != ".lock"] == []


@pytest.mark.parametrize("file", ["appliance.dump", "files.tar", "secrets.age"])
def test_a_flipped_bit_is_found_and_the_file_named(stage: Stage, place: Path, file: str) -> None:
    done = stage.backup()
    path = place / done.name / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with stage.opened() as box:
        _, wrong = backup.verify(box, backup_places.of(stage.settings), done.name)
        assert wrong == [f"{done.name}/{file} is not what it was when it was made."]
        assert backup.newest(box.engine, backup_places.of(stage.settings)) is None
    with pytest.raises(BackupTrouble, match=file):
        restore.run(stage.settings, str(place / done.name), dry_run=True)


def test_a_manifest_that_was_changed_is_refused(stage: Stage, place: Path) -> None:
    done = stage.backup()
    path = place / done.name / "manifest.json"
    said = json.loads(path.read_bytes())
    said["manifest"]["site"] = "elsewhere"
    path.write_text(json.dumps(said))
    with stage.opened() as box, pytest.raises(BackupTrouble, match="manifest"):
        backup.verify(box, backup_places.of(stage.settings), done.name)


def test_a_missing_file_is_named(stage: Stage, place: Path) -> None:
    done = stage.backup()
    (place / done.name / "files.tar").unlink()
    with stage.opened() as box:
        _, wrong = backup.verify(box, backup_places.of(stage.settings), done.name)
    assert len(wrong) == 1
    assert "files.tar" in wrong[0]


def test_nothing_is_written_below_a_mount_point_where_nothing_is_mounted(stage: Stage, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    usb.mkdir()
    with pytest.raises(BackupTrouble, match="Nothing is mounted") as told:
        stage.having(backup_to=str(usb / "backups"), backup_mount=usb).backup()
    assert told.value.code == "backup.place"
    assert list(usb.iterdir()) == []
    assert stage.rows("SELECT outcome FROM run WHERE kind = 'backup'") == [("failed",)]
    assert len(stage.rows("SELECT 1 FROM event WHERE kind = 'run_failed'")) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted disk of eight MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mounted_disk_is_used_and_one_without_room_is_not(stage: Stage, small_disk: Path) -> None:
    usb = stage.having(backup_to=str(small_disk / "backups"), backup_mount=small_disk)
    with pytest.raises(BackupTrouble, match="are free") as told:
        usb.backup()
    assert told.value.code == "backup.room"
    # So small that it fits, by what the last one took.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = usb.backup()
    assert (small_disk / "backups" / done.name / "manifest.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(
    stage: Stage, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stage.settings.models / "large.bin").write_bytes(os.urandom(9 << 20))
    monkeypatch.setattr(backup, "_demand_room", lambda box, place: None)
    usb = stage.having(backup_to=str(small_disk / "backups"), backup_mount=small_disk)
    with pytest.raises(BackupTrouble):
        usb.backup()
    assert [path.name for path in (small_disk / "backups").iterdir()] == [".lock"]
    assert stage.rows("SELECT count(*) FROM backup") == [(0,)]


def test_two_at_a_time_are_one_too_many(stage: Stage) -> None:
    with backup.exclusive(stage.settings), pytest.raises(Conflict):
        stage.backup()


def test_old_ones_go_and_a_stranger_s_stays(stage: Stage, place: Path) -> None:
    kept = stage.having(backup_days=1, backup_weeks=0, backup_months=0)
    (place / "holiday pictures").mkdir()
    first = kept.backup()
    second = kept.backup_later()
    assert second.removed == [first.name]
    assert sorted(path.name for path in place.iterdir() if path.name != ".lock") == [second.name, "holiday pictures"]
    assert stage.rows("SELECT name FROM backup WHERE removed_at IS NULL") == [(second.name,)]


def test_damaged_ones_go_and_the_last_good_one_stays(stage: Stage, place: Path) -> None:
    kept = stage.having(backup_days=0, backup_weeks=0, backup_months=0)
    good = kept.backup()
    bad = kept.backup_later()
    assert not (place / good.name).exists(), "the newest good one is enough"
    with kept.opened() as box:
        path = place / bad.name / "files.tar"
        path.write_bytes(path.read_bytes()[:-1])
        backup.verify(box, backup_places.of(kept.settings), bad.name)
    third = kept.backup_later()
    assert third.removed == [bad.name]


def test_what_a_restored_ledger_does_not_know_is_found_again(stage: Stage, place: Path) -> None:
    done = stage.backup()
    stage.change("DELETE FROM backup")
    with stage.opened() as box:
        backup.adopt(box, backup_places.of(stage.settings))
        assert stage.rows("SELECT name, verified_at FROM backup") == [(done.name, None)]
        # And what is not there any more is not counted upon.
        (place / done.name).rename(place.parent / "taken away")
        backup.adopt(box, backup_places.of(stage.settings))
    assert stage.rows("SELECT count(*) FROM backup WHERE removed_at IS NULL") == [(0,)]


def test_a_box_counts_on_no_other_box_s_backups(stage: Stage, boxes: Boxes, place: Path) -> None:
    stage.backup()
    other = boxes.fresh("other", place)
    with other.opened() as box:
        backup.adopt(box, backup_places.of(other.settings))
    assert other.rows("SELECT count(*) FROM backup") == [(0,)]


def test_counts_are_of_the_moment_of_the_dump(
    stage: Stage, boxes: Boxes, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that come while it is made are in neither."""
    run = dump.pgtools.run

    def slow(*arguments: object, **named: object) -> None:
        stage.predict(50)
        run(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(dump.pgtools, "run", slow)
        done = stage.backup()
    assert stage.rows("SELECT count(*) FROM prediction") == [(550,)]
    fresh = boxes.fresh("fresh", place)
    restore.run(fresh.settings, done.name)
    assert fresh.rows("SELECT count(*) FROM prediction") == [(500,)]


_DAYS = st.lists(st.integers(0, 900), min_size=0, max_size=60)


@given(days=_DAYS, kept=st.tuples(st.integers(0, 10), st.integers(0, 6), st.integers(0, 8)))
def test_of_each_period_one_stays_and_the_newest_always(days: list[int], kept: tuple[int, int, int]) -> None:
    start = datetime(2026, 1, 1, 2, 15, tzinfo=UTC)
    made = [(f"{number}", start + timedelta(days=day)) for number, day in enumerate(days)][::-1]
    stay = backup.chosen(made, *kept)
    assert stay <= {name for name, _ in made}
    assert not made or made[0][0] in stay
    assert len(stay) <= sum(kept) + 1
    at = dict(made)
    for count, period in zip(kept, ("%Y-%m-%d", "%G-%V", "%Y-%m"), strict=True):
        periods = list(dict.fromkeys(moment.strftime(period) for _, moment in made))
        assert {at[name].strftime(period) for name in stay} >= set(periods[:count])
