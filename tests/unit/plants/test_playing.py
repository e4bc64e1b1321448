"""How files come into the raw folder: whole, in order, without loss and without repetition."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import profile as profiles
from appliance.errors import UsageError
from appliance.profile import Profile
from model import faults
from model.plants import PLANTS, Milling, Plant, Pump, csv_bytes
from model.plants.drop import Dropper, FaultPlan, Played, play
from model.plants.source import Drop, Positions, recorded, simulated
from tests import counts
from tests.datasets import dataset
from tests.unit.plants.oracle import bad_rows

MILLING = Milling().profile


def with_file(**changes: object) -> Profile:
    return MILLING.model_copy(update={"file": MILLING.file.model_copy(update=changes)})


def drops(plant: Plant, raw: Path, *, machines: int = 2, rows: int = 5, files: int = 2, **more: int) -> Iterator[Drop]:
    positions = Positions(raw / ".simulate.json")
    start_at = more.get("start_at")
    return simulated(
        plant, positions, seed=more.get("seed", 0), machines=machines, rows=rows, files=files, start_at=start_at
    )


def dropped(raw: Path) -> list[str]:
    return sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file() and path.name[0] != ".")


def play_at_once(source: Iterator[Drop], dropper: Dropper) -> dict[str, object]:
    return play(source, dropper, interval=0, stop=threading.Event())


# -- a plant over time -----------------------------------------------------------------------------------------------


def test_mills_drop_into_a_folder_each_and_pumps_into_one(tmp_path: Path) -> None:
    for plant in (Milling(), Pump()):
        play_at_once(drops(plant, tmp_path), Dropper(tmp_path, plant.profile))
    assert dropped(tmp_path) == [
        "milling/mill-1/mill-1_000001.csv",
        "milling/mill-1/mill-1_000002.csv",
        "milling/mill-2/mill-2_000001.csv",
        "milling/mill-2/mill-2_000002.csv",
        "pump/P-01_000001.csv",
        "pump/P-01_000002.csv",
        "pump/P-02_000001.csv",
        "pump/P-02_000002.csv",
    ]
    second = (tmp_path / "milling/mill-2/mill-2_000002.csv").read_bytes()
    assert second == csv_bytes("milling", 5, machine=2, start=5)


@pytest.mark.parametrize("name", PLANTS)
def test_a_restart_goes_on_where_the_last_play_ended(tmp_path: Path, name: str) -> None:
    def rows_of(*plays: tuple[int, int]) -> bytes:
        return b"".join(
            drop.data.partition(b"\n")[2]
            for rows, files in plays
            for drop in drops(PLANTS[name](), tmp_path, machines=1, rows=rows, files=files)
        )

    assert rows_of((7, 3), (20, 1), (1, 4)) == csv_bytes(name, 45).partition(b"\n")[2]
    numbers = [drop.sequence for drop in drops(PLANTS[name](), tmp_path, machines=1, files=2)]
    assert numbers == [9, 10]


def test_seeds_are_remembered_apart(tmp_path: Path) -> None:
    first = [drop.data for drop in drops(Milling(), tmp_path, seed=1)]
    other = list(drops(Milling(), tmp_path, seed=2))
    assert [drop.sequence for drop in other] == [1, 1, 2, 2]
    assert not {drop.data for drop in other} & set(first)


def test_a_repetition_has_to_be_asked_for_and_moves_nothing_back(tmp_path: Path) -> None:
    first = list(drops(Milling(), tmp_path, machines=1, files=4))
    assert list(drops(Milling(), tmp_path, machines=1, files=2, start_at=2)) == first[1:3]
    assert next(drops(Milling(), tmp_path, machines=1)).data == csv_bytes("milling", 5, start=20)


def test_nothing_is_drawn_before_it_is_due(tmp_path: Path) -> None:
    stop = threading.Event()
    dropper = Dropper(tmp_path, MILLING)

    def stop_after_three(played: Played) -> None:
        if played.files == 3:
            stop.set()

    totals = play(drops(Milling(), tmp_path, files=9), dropper, interval=0, stop=stop, progress=stop_after_three)
    assert (totals["files"], totals["rows"], totals["stopped"]) == (3, 15, True)
    following = list(drops(Milling(), tmp_path, files=1))
    assert [drop.sequence for drop in following] == [3, 2]


def test_a_damaged_memory_is_no_riddle(tmp_path: Path) -> None:
    (tmp_path / ".simulate.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        drops(Milling(), tmp_path)


def test_waiting_files_of_an_earlier_play_are_not_overwritten(tmp_path: Path) -> None:
    for number in range(2):
        source = (Drop("mill-1", n, f"play {number} file {n}".encode(), 1) for n in (1, 2))
        play_at_once(source, Dropper(tmp_path, MILLING))
    contents = [(tmp_path / name).read_text() for name in dropped(tmp_path)]
    assert contents == ["play 0 file 1", "play 0 file 2", "play 1 file 1", "play 1 file 2"]


class Watching(threading.Event):
    """Stands where the machine pauses, and looks at the folder as a reader would."""

    def __init__(self, raw: Path) -> None:
        super().__init__()
        self.raw = raw
        self.seen: list[tuple[list[str], int]] = []

    def wait(self, timeout: float | None = None) -> bool:
        names = dropped(self.raw)
        self.seen.append((names, sum((self.raw / name).stat().st_size for name in names)))
        return False


def test_a_careless_machine_can_be_met_half_way(tmp_path: Path) -> None:
    watching = Watching(tmp_path)
    data = csv_bytes("milling", 50)
    Dropper(tmp_path, MILLING, careless=True, stop=watching).drop(Drop("mill-1", 1, data, 50))
    sizes = [size for names, size in watching.seen if names]
    assert len(sizes) > 2
    assert sizes == sorted(sizes)
    assert 0 < sizes[0] < sizes[-1] == len(data)
    assert (tmp_path / dropped(tmp_path)[0]).read_bytes() == data


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    # The system's own limit on the size of a file ends the write in its middle, as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            Dropper(tmp_path, MILLING).drop(Drop("mill-1", 1, csv_bytes("milling", 1_000), 1_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# -- faults and the manifest -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTS)
def test_the_manifest_tells_all_about_every_file(tmp_path: Path, name: str) -> None:
    plant = PLANTS[name]()
    raw, manifest = tmp_path / "raw", tmp_path / "manifest.jsonl"
    raw.mkdir()
    kinds = faults.chosen([], plant.profile)
    dropper = Dropper(raw, plant.profile, plan=FaultPlan(kinds, 0.7, 11), manifest=manifest)
    totals = play_at_once(drops(plant, raw, rows=30, files=25), dropper)
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert sorted(line["path"] for line in lines) == dropped(raw)
    assert totals["files"] == len(lines)
    assert totals["rows"] == sum(line["rows"] for line in lines)
    assert totals["spoiled_rows"] == sum(len(line["spoiled"]) for line in lines)
    faulty = [line for line in lines if line["faults"]]
    assert len(faulty) == totals["faulty_files"]
    assert 0.5 * 50 < len(faulty) < 0.9 * 50
    # In turn, so that few files show them all.
    assert {line["faults"][0] for line in faulty} == {kind.name for kind in kinds}
    for line in lines:
        data = (raw / line["path"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
        assert line["machine"] in line["path"]
        if line["expected"] != "file":
            assert bad_rows(data, plant.profile) == line["spoiled"]
    again = [line for line in lines if line["faults"] == ["duplicate-file"]]
    assert again
    assert all([line["sha256"] for line in lines].count(line["sha256"]) == 2 for line in again)


def test_no_faults_unless_asked(tmp_path: Path) -> None:
    totals = play_at_once(
        drops(Milling(), tmp_path), Dropper(tmp_path, MILLING, plan=FaultPlan(faults.chosen([], MILLING), 0, 0))
    )
    assert totals["faulty_files"] == 0


# -- a given file ----------------------------------------------------------------------------------------------------

CELL = st.text(st.sampled_from('a1 ,;"\n\r\t.é'), max_size=6)
PLAIN = st.text(st.sampled_from("a1 .é"), max_size=4)


@dataclass(frozen=True)
class Given:
    header: bytes
    body: bytes
    separator: str
    encoding: str
    rows: int


@st.composite
def csv_files(draw: st.DrawFn) -> Given:
    separator = draw(st.sampled_from(",;\t"))
    mark, encoding, codec = draw(
        st.sampled_from(
            [
                (b"", "utf-8", "utf-8"),
                (b"\xef\xbb\xbf", "utf-8", "utf-8"),
                (b"", "windows-1252", "windows-1252"),
                (b"\xff\xfe", "utf-16", "utf-16-le"),
                (b"\xfe\xff", "utf-16", "utf-16-be"),
            ]
        )
    )
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    width = draw(st.integers(2, 3))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=12))

    def text(lines: list[list[str]]) -> str:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter=separator, lineterminator=newline)
        for line in lines:
            writer.writerow(line)
            buffer.write(newline * draw(st.sampled_from([0, 0, 0, 1])) if lines is rows else "")
        return buffer.getvalue()

    header = text([draw(st.lists(PLAIN, min_size=width, max_size=width))])
    body = text(rows)
    if draw(st.booleans()):
        body = body.removesuffix(newline)
    return Given(mark + header.encode(codec), body.encode(codec), separator, encoding, len(rows))


@settings(max_examples=counts.examples(300))
@given(csv_files(), st.integers(1, 5), st.integers(1, 3))
def test_a_given_file_is_played_without_loss(
    tmp_path_factory: pytest.TempPathFactory, file: Given, rows: int, machines: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "given.csv"
    path.write_bytes(file.header + file.body)
    profile = with_file(separator=file.separator, encoding=file.encoding)
    names = [f"m{n}" for n in range(machines)]
    pieces = list(recorded(path, profile, names, rows))
    assert [piece.rows for piece in pieces] == [min(rows, file.rows - done) for done in range(0, file.rows, rows)]
    assert [piece.machine for piece in pieces] == [names[n % machines] for n in range(len(pieces))]
    assert all(piece.data.startswith(file.header) for piece in pieces)
    assert b"".join(piece.data.removeprefix(file.header) for piece in pieces) == file.body


def test_the_published_file_is_played_without_loss(tmp_path: Path) -> None:
    source = dataset("ai4i2020.csv")
    names = ["mill-1", "mill-2", "mill-3"]
    play_at_once(recorded(source, MILLING, names, 777), Dropper(tmp_path, MILLING))
    header, _, body = source.read_bytes().partition(b"\n")
    assert len(dropped(tmp_path)) == 13
    in_order = sorted(dropped(tmp_path), key=lambda name: (name[-10:], name))
    parts = [(tmp_path / name).read_bytes().partition(b"\n") for name in in_order]
    assert {part[0] for part in parts} == {header}
    assert b"".join(part[2] for part in parts) == body


def test_a_quote_inside_a_plain_cell_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "inch.csv"
    path.write_text('size,n\n5" pipe,1\n3" pipe,2\n"two\nlines, ""quoted""",3\n')
    pieces = list(recorded(path, MILLING, ["m"], 1))
    assert [piece.data.decode().partition("\n")[2] for piece in pieces] == [
        '5" pipe,1\n',
        '3" pipe,2\n',
        '"two\nlines, ""quoted""",3\n',
    ]


@pytest.mark.parametrize(
    ("data", "encoding", "says"), [(b"", "utf-8", "is empty"), (b"abc", "utf-16", "not in utf-16")]
)
def test_a_file_that_cannot_be_played_is_refused(tmp_path: Path, data: bytes, encoding: str, says: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=says):
        list(recorded(path, with_file(encoding=encoding), ["m"], 1))


def test_an_own_profile_can_be_played(tmp_path: Path) -> None:
    text = Path(profiles.__file__).parents[1].joinpath("model/profiles/milling.toml").read_text()
    own = profiles.parse(text.replace('from = "folder"', 'from = "constant"\nvalue = "oven"').replace("milling", "own"))
    play_at_once(iter([Drop("machine-1", 1, csv_bytes("milling", 3), 3)]), Dropper(tmp_path, own))
    assert dropped(tmp_path) == ["own/machine-1_000001.csv"]
