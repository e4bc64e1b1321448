"""An original goes last, only as the one that was claimed, and never without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import intake, removal
from appliance.errors import ApplianceError, Conflict
from tests.unit.intake.drop import TEXT, Drop


def test_the_copy_is_kept_and_the_original_goes(drop: Drop) -> None:
    path = drop.put("a.csv")
    kept = drop.away / "2026" / "17.csv"
    assert intake.release(drop.claimed(path), kept)
    assert kept.read_bytes() == TEXT
    assert (list(drop.mill.iterdir()), drop.copies()) == ([], [])


def test_without_an_archive_both_go(drop: Drop) -> None:
    path = drop.put("a.csv")
    assert intake.release(drop.claimed(path), None)
    assert (list(drop.mill.iterdir()), drop.copies()) == ([], [])


@pytest.mark.parametrize("how", ["appended", "replaced", "touched"])
def test_an_original_that_changed_is_left_and_told(drop: Drop, how: str) -> None:
    path = drop.put("a.csv")
    found = drop.claimed(path)
    if how == "appended":
        with path.open("ab") as file:
            file.write(b"2,M14861\n")
    elif how == "replaced":
        drop.put("b.part", b"new").rename(path)
    else:
        os.utime(path, ns=(1, 1))
    now = path.read_bytes()
    assert not intake.release(found, drop.away / "a.csv")
    assert path.read_bytes() == now
    assert (drop.away / "a.csv").read_bytes() == TEXT
    assert [p.name for p in drop.mill.iterdir()] == ["a.csv"]


def test_an_original_that_is_gone_already_is_no_fault(drop: Drop) -> None:
    path = drop.put("a.csv")
    found = drop.claimed(path)
    path.unlink()
    assert intake.release(found, drop.away / "a.csv")
    drop.mill.rmdir()
    assert intake.remove(drop.raw, path, found.look.identity)


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_that_comes_between_look_and_removal_survives(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """A machine replaces its file at the worst moment, and perhaps once more."""
    path = drop.put("a.csv")
    identity = drop.one(path).identity
    rename = os.rename

    def rename_too_late(source: str, target: str, **folders: int) -> None:
        if target.startswith(removal.LEAVING):
            drop.put("next.part", b"next").replace(path)
            rename(source, target, **folders)
            if taken:
                drop.put("a.csv", b"the one after")
        else:
            rename(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename_too_late)
    assert not intake.remove(drop.raw, path, identity)
    monkeypatch.undo()
    found = {p.name: p.read_bytes() for p in drop.look()}
    assert sorted(found.values()) == ([b"next", b"the one after"] if taken else [b"next"])
    assert found["a.csv"] == (b"the one after" if taken else b"next")


def test_what_a_killed_pass_left_half_removed_gets_its_name_back(drop: Drop) -> None:
    path = drop.put("Schicht-1.csv")
    path.rename(drop.mill / f"{removal.LEAVING}0a1b2c3d-Schicht-1.csv")
    (drop.work / "claim-0123").write_bytes(b"half")
    (drop.work / "other").write_bytes(b"not ours to remove")
    assert drop.look() == {}
    intake.tidy(drop.work, drop.raw)
    assert list(drop.look()) == [path]
    assert drop.one(path).links == 1
    assert drop.copies() == ["other"]


@pytest.mark.parametrize("keep", [True, False])
def test_an_entry_that_cannot_be_moved_to_its_place_is_put_out_of_sight(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    path = drop.mill / "a.csv"
    path.symlink_to("/etc/passwd")
    found = drop.claimed(path)
    rename = os.rename

    def another_disk(source: str, target: object, **folders: int) -> None:
        if isinstance(target, Path):
            raise OSError(18, "Invalid cross-device link")
        rename(source, str(target), **folders)

    monkeypatch.setattr(os, "rename", another_disk)
    assert intake.release(found, drop.away / "a.csv" if keep else None)
    assert drop.look() == {}
    (hidden,) = drop.mill.iterdir()
    assert hidden.is_symlink()
    assert hidden.name.startswith(removal.REFUSED)


def test_an_archive_on_another_disk_gets_a_copy(drop: Drop) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == drop.work.stat().st_dev:
        pytest.skip("there is no second file system to move to")
    target = other / f"appliance-test-{os.getpid()}.csv"
    try:
        assert intake.release(drop.claimed(drop.put("a.csv")), target)
        assert target.read_bytes() == TEXT
        assert drop.copies() == []
    finally:
        target.unlink(missing_ok=True)


def test_a_folder_that_may_not_be_written_is_said(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = drop.claimed(drop.put("a.csv"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(ApplianceError, match="right to write"):
        intake.release(found, None)


HOLD = "import sys; from pathlib import Path; from appliance import intake\nwith intake.exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_only_one_pass_runs_at_a_time_and_a_dead_one_holds_nothing(drop: Drop) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, drop.work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match="Another pass is running"), intake.exclusive(drop.work):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with intake.exclusive(drop.work), pytest.raises(Conflict), intake.exclusive(drop.work):
        pass
    with intake.exclusive(drop.work, wait=True):
        pass


def test_intake_is_light_enough_for_a_minute_without_files() -> None:
    code = (
        "import sys, appliance.intake; print(sorted({'polars', 'pandera', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
