"""What lies in the drop folder and may be taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance import intake
from tests.unit.intake.drop import TEXT, Drop


def test_files_lie_in_a_profiles_folder_or_in_one_below_it(drop: Drop) -> None:
    below, beside = drop.put("a.csv"), drop.put("Bericht für März 2026.csv", folder=drop.raw / "pump")
    found = drop.look()
    assert {path: (seen.profile, seen.folder, seen.kind) for path, seen in found.items()} == {
        below: ("milling", "mill-1", "file"),
        beside: ("pump", "", "file"),
    }
    assert {seen.raw for seen in found.values()} == {drop.raw}


@pytest.mark.parametrize(
    "name",
    [
        ".a.csv",
        "a.csv.part",
        "a.csv.PART",
        "a.tmp",
        "a.csv.crdownload",
        "desktop.ini",
        "Thumbs.db",
        "~$a.csv",
        "a.filepart",
    ],
)
def test_unfinished_files_and_litter_are_left_alone(drop: Drop, name: str) -> None:
    drop.put(name)
    assert drop.look() == {}
    assert intake.strays(drop.raw, ["milling", "pump"]) == []


def test_what_nobody_will_take_is_told(drop: Drop) -> None:
    drop.put("lost.csv", folder=drop.raw)
    (drop.raw / "lathe").mkdir()
    (drop.mill / "2026").mkdir()
    drop.put("deep.csv", folder=drop.mill / "2026")
    assert drop.look() == {}
    assert intake.strays(drop.raw, ["milling", "pump"]) == sorted(
        [drop.raw / "lathe", drop.raw / "lost.csv", drop.mill / "2026"]
    )


def test_a_folder_that_is_a_link_leads_nowhere(drop: Drop) -> None:
    (drop.away / "secret.csv").write_bytes(TEXT)
    (drop.raw / "milling" / "mill-2").symlink_to(drop.away)
    (drop.raw / "pump").rmdir()
    (drop.raw / "pump").symlink_to(drop.away)
    found = drop.look()
    assert [(path.name, seen.kind) for path, seen in found.items()] == [("mill-2", "symlink")]
    assert intake.strays(drop.raw, ["milling", "pump"]) == [drop.raw / "pump"]


def test_only_what_two_looks_agree_on_is_settled(drop: Drop) -> None:
    calm, growing, touched, gone = (drop.put(f"{name}.csv") for name in ("calm", "growing", "touched", "gone"))
    swapped = drop.put("swapped.csv")
    status = swapped.stat()
    first = drop.look()
    with growing.open("ab") as file:
        file.write(b"x")
    os.utime(touched, ns=(0, touched.stat().st_mtime_ns + 1))
    gone.unlink()
    other = drop.put("other.part")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(swapped)
    drop.put("new.csv")
    assert [seen.path for seen in intake.settled(first, drop.look())] == [calm]


def test_the_oldest_comes_first_whatever_the_clock_says(drop: Drop) -> None:
    for name, seconds in (("c.csv", 4_000_000_000), ("b.csv", 0), ("a.csv", 1_000_000_000)):
        os.utime(drop.put(name), (seconds, seconds))
    looked = drop.look()
    assert [seen.path.name for seen in intake.settled(looked, looked)] == ["b.csv", "a.csv", "c.csv"]


def test_a_missing_drop_folder_holds_nothing(tmp_path: Path) -> None:
    assert intake.look(tmp_path / "none", ["milling"]) == {}
    assert intake.strays(tmp_path / "none", ["milling"]) == []
    (tmp_path / "milling").write_text("no folder")
    assert intake.look(tmp_path, ["milling", "gone"]) == {}
