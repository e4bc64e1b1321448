"""Whatever lands in the drop folder ends in a verdict that the books know, and never in the way of the file beside it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from appliance import pipeline
from tests.hostile import FOREIGN, LINES, MILL, Foreign, zipped
from tests.road.conftest import Road

DOCS = Path(__file__).parents[2] / "docs" / "hostile-files.md"
LIMIT_MB = 2  # of a file, in these tests
SECRET = b"hush"


@dataclass(frozen=True)
class Scene:
    """``folder``: a machine's, in the drop folder; ``away``: out of it; ``during``: closed when the pass is over."""

    folder: Path
    away: Path
    during: ExitStack

    def file(self, name: str | bytes, data: bytes) -> Path:
        aside = self.folder / ".aside"
        aside.write_bytes(data)
        return aside.rename(self.folder / os.fsdecode(name))


Put = Callable[[Scene], object]


@dataclass(frozen=True)
class Entry:
    """``word``: of the refusal, '' where it is taken, or what happens to it instead."""

    what: str
    put: Put
    word: Literal["left", "unseen"] | str = ""


def named(name: str | bytes, data: bytes = MILL) -> Put:
    return lambda scene: scene.file(name, data)


def symlink(scene: Scene) -> None:
    (scene.folder / "a.csv").symlink_to(scene.away / "secret.csv")


def symlink_to_a_folder(scene: Scene) -> None:
    (scene.folder.parent / "mill-9").symlink_to(scene.away)


def hard_link(scene: Scene) -> None:
    (scene.folder / "a.csv").hardlink_to(scene.away / "secret.csv")


def pipe(scene: Scene) -> None:
    os.mkfifo(scene.folder / "a.csv")


def listening(scene: Scene) -> None:
    here = os.open(scene.folder, os.O_RDONLY)
    try:  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/a.csv")
    finally:
        os.close(here)


def device(scene: Scene) -> None:
    try:
        os.mknod(scene.folder / "a.csv", 0o20600, os.makedev(1, 5))  # /dev/zero: it never ends
    except PermissionError:
        pytest.skip("only root makes devices, and not in every container")


def in_no_folder(scene: Scene) -> None:
    (scene.folder.parent / "a.csv").write_bytes(MILL)


def odd_folder(scene: Scene) -> None:
    folder = scene.folder.parent / "mill\n1"
    folder.mkdir()
    (folder / "a.csv").write_bytes(MILL)


def being_written(scene: Scene) -> None:
    scene.during.enter_context(scene.file("a.csv", MILL[:-1]).open("ab"))


def growing(scene: Scene) -> None:
    """It grows by a row each time that somebody reads of it."""
    path, read = scene.file("a.csv", MILL), os.read
    status = path.stat()

    def read_while_it_grows(descriptor: int, size: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), status):
            with path.open("ab") as writer:
                writer.write(LINES[0])
        return read(descriptor, size)

    patch = scene.during.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(os, "read", read_while_it_grows)


LONG = "x" * (255 - len(".csv"))

ENTRIES = [
    Entry("symbolic link", symlink, "symlink"),
    Entry("folder that is a symbolic link", symlink_to_a_folder, "symlink"),
    Entry("hard link", hard_link, "hard_link"),
    Entry("pipe (FIFO)", pipe, "not_regular"),
    Entry("socket", listening, "not_regular"),
    Entry("device", device, "not_regular"),
    Entry("name with a line end", named("a\nb.csv"), "name"),
    Entry("name with control characters", named("a\x1b[31m.csv"), "name"),
    Entry("name that turns its letters around", named("a\u202evsc.csv"), "name"),
    Entry("name that is no UTF-8", named(b"m\xe4rz.csv"), "name"),
    Entry("name over 200 bytes", named(f"{LONG}.csv"), "name"),
    Entry("name over 200 bytes, each of which has to be escaped", named("\x01" * len(LONG) + ".csv"), "name"),
    Entry("folder with a line end in its name", odd_folder, "name"),
    Entry("name that begins with `..`", named("..a.csv"), "unseen"),
    Entry("name that climbs by `\\..\\`", named("a\\..\\..\\b.csv")),
    Entry("unfinished upload (`.part`, `.tmp`, hidden)", named("a.csv.part"), "unseen"),
    Entry("file in no machine's folder", in_no_folder, "machine"),
    Entry("file over the limit", named("a.csv", MILL + b"\n" * (LIMIT_MB << 20)), "too_large"),
    Entry("file that somebody has open for writing", being_written, "left"),
    Entry("file that grows while it is read", growing, "left"),
    Entry("picture", named("a.png", b"\x89PNG\r\n\x1a\n"), "format"),
    Entry("workbook", named("a.xlsx", zipped(b"<xml/>")), "compressed"),
]
CUT = [
    Foreign("cut in the middle of a row", MILL[:-9], bad={"cut_off": 1}),
    Foreign("cut in the middle of the last cell", MILL[:-1], bad={"cut_off": 1}),
]


def words(case: Entry | Foreign) -> str:
    return re.sub(r"\W+", " ", case.what).strip()


@pytest.fixture
def road(road: Road) -> Road:
    settings = road.settings.model_copy(update={"file_limit_mb": LIMIT_MB})
    return Road(settings, road.engine, pipeline.Box(settings, road.engine))


@pytest.fixture
def scene(road: Road, tmp_path: Path) -> Scene:
    away = tmp_path / "away"
    away.mkdir()
    (away / "secret.csv").write_bytes(SECRET)
    for folder in ("milling/mill-1", "milling/mill-2", "pump"):
        (road.settings.raw / folder).mkdir(parents=True)
    return Scene(road.settings.raw / "milling" / "mill-1", away, ExitStack())


def passed(road: Road, scene: Scene) -> list[dict[str, object]]:
    """A pass with a clean file beside: what holds whatever came; the file on record, if there is one."""
    road.drop("milling", "zz-clean.csv", MILL + b"\n", "mill-2")
    with scene.during:
        done = road.ingest()
    assert done.errors == []
    assert road.broken_promises() == []
    assert pipeline.record_statistics(road.box, done.run) == []
    assert (scene.away / "secret.csv").read_bytes() == SECRET
    assert road.rows("SELECT rows_good FROM file WHERE name = 'zz-clean.csv'") == [{"rows_good": len(LINES)}]
    return road.rows("SELECT * FROM file WHERE name <> 'zz-clean.csv'")


def refused(road: Road) -> list[dict[str, object]]:
    """What the curves have of it."""
    return road.rows("SELECT labels, value FROM metric WHERE name = 'ingest_refused'")


@pytest.mark.parametrize("case", ENTRIES, ids=words)
def test_what_is_no_plain_file_or_not_at_rest(road: Road, scene: Scene, case: Entry) -> None:
    case.put(scene)
    [entry] = [path for path in road.settings.raw.rglob("*") if path.is_symlink() or not path.is_dir()]
    before = entry.lstat()
    found = passed(road, scene)
    if case.word in ("left", "unseen"):
        assert found == []
        assert entry.lstat().st_ino == before.st_ino
        left = road.rows("SELECT counts ->> 'left' AS left FROM run WHERE kind = 'ingest'")
        assert left == [{"left": "1" if case.word == "left" else "0"}]
        return
    assert road.waiting() == []
    [file] = found
    assert str(file["name"]).isprintable()
    if not case.word:
        assert file["rows_good"] == len(LINES)
        return
    assert (file["state"], file["reason"], file["rows_in"], file["criticality"]) == (
        "quarantined", case.word, 0, "high",
    )  # fmt: skip
    assert refused(road) == [{"labels": {"profile": "milling", "reason": case.word}, "value": 1.0}]
    kept = (road.settings.data_dir / str(file["quarantine_path"])).lstat()
    assert (kept.st_mode & 0o170000, kept.st_size) == (before.st_mode & 0o170000, before.st_size)


@pytest.mark.parametrize("case", [*FOREIGN, *CUT], ids=words)
def test_what_the_bytes_of_a_file_are(road: Road, scene: Scene, case: Foreign) -> None:
    folder = scene.folder if case.profile == "milling" else road.settings.raw / case.profile
    (folder / case.name).write_bytes(case.data)
    [file] = passed(road, scene)
    assert road.waiting() == []
    if case.word:
        assert (file["state"], file["reason"], file["rows_in"], file["criticality"]) == (
            "quarantined", case.word, 0, "high",
        )  # fmt: skip
        assert refused(road) == [{"labels": {"profile": case.profile, "reason": case.word}, "value": 1.0}]
        assert (road.settings.data_dir / str(file["quarantine_path"])).read_bytes() == case.data
        return
    bad = sum(case.bad.values())
    assert (file["rows_in"], file["rows_good"], file["rows_bad"]) == (case.rows, case.rows - bad, bad)
    issues = road.rows("SELECT rule, count FROM quality_issue WHERE file_id = :id AND count > 0", id=file["id"])
    assert {issue["rule"]: issue["count"] for issue in issues} == case.bad
    assert refused(road) == []


def test_the_page_about_them_says_the_same() -> None:
    """Each case is a row of it with its reason or its rules, and no row is without a case."""
    told = {}
    for line in DOCS.read_text().splitlines():
        what, _, word = ([cell.strip() for cell in line.strip("|").split("|")] + ["", ""])[:3]
        if line.startswith("| ") and not what.startswith(
            ("what comes", "---", "CSV with", "CSV of", "Parquet of", "file |")
        ):
            told[what] = word
    cases: list[Entry | Foreign] = [*ENTRIES, *FOREIGN, *CUT]
    expected = {case.what: _said(case) for case in cases}
    assert {what: told.get(what) for what in expected} == expected
    assert set(told) - set(expected) <= {"file"}


def _said(case: Entry | Foreign) -> str:
    if isinstance(case, Foreign) and case.bad:
        return "rule " + ", ".join(f"`{rule}`" for rule in case.bad)
    return case.word if case.word in ("", "left", "unseen") else f"`{case.word}`"
