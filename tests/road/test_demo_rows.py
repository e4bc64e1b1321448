"""What came of simulated files goes to the last trace, and nothing else does, however often that is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from appliance import demo_lock, demo_rows, intake, outputs
from appliance.cli import app
from appliance.errors import Conflict, UsageError
from appliance.store import alarms, ledger
from appliance.store import engine as engines
from model import simulate
from model.plants import PLANTS, csv_bytes
from tests.road.conftest import Road

pytestmark = pytest.mark.usefixtures("api")

# Every row of the database, as text; what passes and removals note about themselves is left out.
TABLES = (
    *("arrival", "file", "part", "quality_issue", "prediction", "machine", "machine_state", "alarm", "outcome"),
    *("notice", "delivery", "profile", "model"),
)
# Which of these rows belong to nothing simulated.
REAL_FILE = "(SELECT id FROM file WHERE origin NOT LIKE 'demo-%' OR origin IS NULL)"
REAL_MACHINE = "(SELECT id FROM machine WHERE name NOT LIKE 'demo-%')"
REAL_ALARM = f"(SELECT id FROM alarm WHERE machine_id IN {REAL_MACHINE})"
REAL = {
    "arrival": "t.origin NOT LIKE 'demo-%'",
    "file": "t.origin NOT LIKE 'demo-%'",
    "part": f"t.file_id IN {REAL_FILE}",
    "quality_issue": f"t.file_id IN {REAL_FILE}",
    "prediction": f"t.file_id IN {REAL_FILE} OR t.file_id IS NULL AND t.machine_id IN {REAL_MACHINE}",
    "machine": f"t.id IN {REAL_MACHINE}",
    "machine_state": f"t.machine_id IN {REAL_MACHINE}",
    "alarm": f"t.machine_id IN {REAL_MACHINE}",
    "outcome": f"t.machine_id IN {REAL_MACHINE}",
    "notice": f"(t.kind = 'file' AND t.ref_id IN {REAL_FILE}) OR (t.kind = 'alarm' AND t.ref_id IN {REAL_ALARM})",
    "delivery": f"t.notice_id IN (SELECT id FROM notice n WHERE n.kind = 'file' AND n.ref_id IN {REAL_FILE})",
}
HEADER = (
    "UDI,Product ID,Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],"
    "Tool wear [min]\n"
)


def failing(first: int) -> bytes:
    """Four rows above the limit of strain, after which a mill is in alarm."""
    return (HEADER + "".join(f"{n},L{n:05d},L,300,310,1500,50,240\n" for n in range(first, first + 4))).encode()


def told(road: Road, *, real_only: bool) -> dict[str, list[str]]:
    """Each table as sorted texts of its rows."""
    where = REAL if real_only else {}
    return {
        name: sorted(
            row["r"] for row in road.rows(f"SELECT t::text AS r FROM {name} t WHERE {where.get(name, 'true')}")
        )
        for name in TABLES
    }


def on_disk(road: Road) -> dict[str, bytes]:
    """All files of the data folder but the models, and their contents."""
    root = road.settings.data_dir
    folders = (road.settings.raw, road.settings.good, road.settings.bad, road.settings.archive)
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return {str(path.relative_to(root)): b"" if path.is_symlink() else path.read_bytes() for path in paths}


def real_on_disk(road: Road) -> dict[str, bytes]:
    """Those that no simulated file accounts for."""
    paths = "SELECT unnest(ARRAY[good_path, bad_path, report_path, quarantine_path]) AS path FROM file"
    theirs = {row["path"] for row in road.rows(f"{paths} WHERE id NOT IN {REAL_FILE}")}
    kept = {row["n"] for row in road.rows("SELECT name || '.' || id AS n FROM arrival WHERE origin LIKE 'demo-%'")}
    return {
        path: data
        for path, data in on_disk(road).items()
        if path not in theirs and Path(path).name not in kept and "/demo-" not in path and "/.demo-" not in path
    }


def unaccounted(road: Road) -> set[str]:
    """Files of rows and reports that no row of the ledger names."""
    paths = "SELECT unnest(ARRAY[good_path, bad_path, report_path, quarantine_path]) AS path FROM file"
    known = {row["path"] for row in road.rows(paths)}
    return {path for path in on_disk(road) if path.startswith(("good_data", "bad_data")) and path not in known}


def play(road: Road, plant: str, *more: str) -> None:
    options = f"--plant {plant} --into {road.settings.raw} --as-demo --every 0 --machines 2 --rows-per-file 30"
    assert simulate.main([*options.split(), *more]) == 0


def settled(road: Road) -> None:
    road.ingest()
    road.predict()


@pytest.fixture
def mixed(road: Road, mill: bytes, tmp_path: Path) -> Road:
    """Both kinds of files of both profiles, in every state that a file can be in; some of the same content."""
    for number, folder in enumerate(("mill-1", "demo-mill-1")):
        road.drop("milling", "a.csv", mill, folder)
        road.drop("milling", "again.csv", mill, folder)
        road.drop("milling", "alarm.csv", failing(900), folder)
        road.drop("milling", "bad.csv", mill.replace(b",H,", b",X,"), folder)
        road.drop("milling", f"empty-{number}.csv", b"", folder)
        link = road.settings.raw / "milling" / folder / "link.csv"
        link.symlink_to(tmp_path)
    pumps = csv_bytes(PLANTS["pump"](), 40, seed=3)
    road.drop("pump", "shift.csv", pumps)
    road.drop("pump", "demo-shift.csv", pumps)
    play(road, "milling", "--files", "5", "--faults", "0.6", "--seed", "4")
    play(road, "pump", "--files", "3", "--faults", "0.6", "--seed", "4")
    settled(road)
    with road.box.client() as client:
        row = {
            "type": "L",
            "air_temperature": 300,
            "process_temperature": 310,
            "speed": 1500,
            "torque": 50,
            "tool_wear": 9,
        }
        for machine in ("mill-1", "demo-mill-1", "demo-asked-only"):
            client.predict_rows([row] * 3, machine=machine, profile="milling")
    noted(road)
    # A part that waits, one that was given up, a file that is still to be taken.
    for machine in ("mill-1", "demo-mill-1"):
        road.drop("milling", "late.csv", csv_bytes("milling", 200, seed=8), machine)
        road.drop("milling", "lost.csv", csv_bytes("milling", 90, seed=9), machine)
    road.ingest()
    road.rows(
        "UPDATE part SET state = 'failed' WHERE file_id IN (SELECT id FROM file WHERE name = 'lost.csv') RETURNING id"
    )
    play(road, "pump", "--files", "1", "--seed", "9")
    road.drop("milling", "to come.csv", mill, "mill-2")
    assert road.broken_promises() == []
    return road


def noted(road: Road) -> None:
    """Outcomes, messages and events, of either kind."""
    for machine in road.rows(
        "SELECT m.id, (SELECT max(id) FROM alarm WHERE machine_id = m.id) AS alarm FROM machine m"
    ):
        with engines.transaction(road.engine) as connection:
            now = datetime.now(UTC)
            alarms.record_outcome(connection, machine["id"], now, "failure", "tests", alarm_id=machine["alarm"])
    for kind in ("file", "alarm"):
        road.rows(
            f"INSERT INTO notice (kind, ref_id) SELECT '{kind}', id FROM {kind} ON CONFLICT DO NOTHING RETURNING id"
        )
    road.rows(
        "INSERT INTO delivery (notice_id, target, label) SELECT id, repeat('a', 64), 'x' FROM notice WHERE kind = 'file'"
        " ON CONFLICT DO NOTHING RETURNING notice_id"
    )
    for file in road.rows("SELECT id, name, arrival_id FROM file"):
        with engines.transaction(road.engine) as connection:
            details = {"file_id": file["id"]} if file["id"] % 2 else {"arrival": file["arrival_id"]}
            ledger.event(connection, "noted", "warning", file["name"], details)


def test_removal_leaves_what_is_real_as_it_was(mixed: Road) -> None:
    wanted, files = told(mixed, real_only=True), real_on_disk(mixed)
    assert all(wanted[name] for name in TABLES), "a table without real rows proves nothing"
    assert {name: len(rows) for name, rows in told(mixed, real_only=False).items()} != {
        name: len(rows) for name, rows in wanted.items()
    }
    there = demo_rows.count(mixed.box)
    assert min(there.as_dict()[name] for name in there.as_dict() if name != "kept") > 0

    removed = demo_rows.remove(mixed.box)

    assert removed == there
    assert told(mixed, real_only=False) == wanted
    assert on_disk(mixed) == files
    assert mixed.broken_promises() == []
    names = mixed.rows("SELECT message FROM event WHERE kind = 'noted'")
    assert names
    assert all("demo-" not in row["message"] for row in names)
    events = mixed.rows("SELECT details FROM event WHERE kind = 'demo_removed'")
    assert [event["details"]["files"] for event in events] == [removed.files]
    assert not list(mixed.settings.raw.rglob("*demo-*"))
    assert not mixed.rows("SELECT * FROM arrival WHERE path LIKE '%demo-%'")
    assert not demo_rows.count(mixed.box)
    # Once more: nothing, and no note of it.
    assert not demo_rows.remove(mixed.box)
    assert len(mixed.rows("SELECT * FROM event WHERE kind = 'demo_removed'")) == 1
    # What is left goes on as before.
    settled(mixed)
    assert mixed.broken_promises() == []
    assert mixed.waiting() == []


class Cut(BaseException):
    """Stands for a kill: nothing of the step that it comes in is done after it."""


def test_cut_off_at_every_commit_it_comes_to_the_same(mixed: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, files = told(mixed, real_only=True), real_on_disk(mixed)
    monkeypatch.setattr(demo_rows, "ROWS_AT_A_TIME", 100)
    monkeypatch.setattr(demo_rows, "FILES_AT_A_TIME", 3)
    left, committed, begun = [0], [False], engines.transaction

    @contextmanager
    def cut(engine: Engine) -> Iterator[Connection]:
        left[0] -= 1
        with begun(engine) as connection:
            yield connection
            if left[0] == 0 and not committed[0]:
                raise Cut
        if left[0] == 0:
            raise Cut

    # Each run begins where the one before was cut off: the first ones cut the first steps, the later ones the last.
    for run in range(500):
        left[0], committed[0] = 4 + run // 2, run % 2 == 1
        with monkeypatch.context() as patch:
            patch.setattr(demo_rows.engine, "transaction", cut)
            try:
                demo_rows.remove(mixed.box)
            except Cut:
                pass
            else:
                break
        assert mixed.broken_promises() == []
        assert unaccounted(mixed) == set()
        assert told(mixed, real_only=True) == wanted
    assert run > 10, "it was hardly ever cut off"
    assert told(mixed, real_only=False) == wanted
    assert on_disk(mixed) == files


def test_a_profile_by_itself(mixed: Road) -> None:
    before = told(mixed, real_only=False)
    demo_rows.remove(mixed.box, "pump")
    after = told(mixed, real_only=False)
    assert [row for row in before["machine"] if ",P-" in row or ",mill" in row] == [
        row for row in after["machine"] if "demo-P" not in row and "demo-" not in row
    ]
    mills = "SELECT count(*) AS n FROM file f JOIN profile p ON p.id = f.profile_id WHERE origin LIKE 'demo-%' AND p.name = "
    assert mixed.rows(f"{mills} 'pump'") == [{"n": 0}]
    assert mixed.rows(f"{mills} 'milling'")[0]["n"] > 0
    assert not list((mixed.settings.raw / "pump").glob("*demo-*"))
    assert demo_rows.count(mixed.box, "milling") == demo_rows.count(mixed.box)
    with pytest.raises(UsageError, match="There are milling, pump"):
        demo_rows.count(mixed.box, "lathe")


@pytest.mark.parametrize("plant", PLANTS)
def test_every_row_of_a_simulated_plant_bears_the_mark(road: Road, plant: str, tmp_path: Path) -> None:
    play(road, plant, "--files", "4", "--fault", "null", "--fault", "duplicate-rows", "--faults", "0.5")
    settled(road)
    assert road.rows("SELECT count(*) AS n FROM prediction")[0]["n"] > 100
    machines = {row["name"] for row in road.rows("SELECT name FROM machine")}
    assert machines == {f"demo-{PLANTS[plant]().machine(n)}" for n in (1, 2)}
    assert {row["name"][:5] for row in road.rows("SELECT name FROM file")} == {"demo-"}
    for path in road.rows("SELECT good_path FROM file WHERE good_path IS NOT NULL"):
        rows = outputs.read_part(road.settings.data_dir / path["good_path"], 0, 100)
        assert rows["_machine"].str.starts_with("demo-").all()
    for path in road.settings.bad.rglob("*.csv"):
        assert path.name.startswith("demo-")


def test_simulated_rows_that_were_mended_stay_simulated(road: Road) -> None:
    data = csv_bytes(PLANTS["pump"](), 20, seed=3).decode("windows-1252").splitlines(keepends=True)
    data[4] = data[4].replace(";water;", ";beer;").replace(";glycol;", ";beer;").replace(";emulsion;", ";beer;")
    road.drop("pump", "demo-shift.csv", "".join(data).encode("windows-1252"))
    road.ingest()
    [bad] = road.settings.bad.rglob("*.csv")
    mended = bad.read_bytes().replace(b";beer;", b";water;")
    # Under a name of its own nobody would know it again.
    road.drop("pump", "mended.csv", mended)
    assert road.ingest().quarantined == 1
    assert road.rows("SELECT reason, rows_in FROM file WHERE name = 'mended.csv'") == [{"reason": "demo", "rows_in": 0}]
    road.drop("pump", bad.name, mended)
    assert road.ingest().rows_good == 1
    [lineage] = road.rows("SELECT name, mended_from FROM file WHERE mended_from IS NOT NULL")
    assert lineage["name"].startswith("demo-shift.csv.")
    settled(road)
    demo_rows.remove(road.box)
    assert [row["name"] for row in road.rows("SELECT name FROM file")] == ["mended.csv"]
    # And when they come back after that, their file is no riddle.
    road.drop("pump", bad.name, mended)
    assert road.ingest().rows_good == 1
    assert road.broken_promises() == []


def test_a_marked_machine_in_a_real_file_stays_with_its_rows(road: Road, mill: bytes) -> None:
    """Nothing is taken out of a file: it would not balance any more."""
    road.drop("milling", "a.csv", mill, "mill-1")
    road.drop("milling", "demo-alarm.csv", failing(900), "mill-1")
    settled(road)
    # As if a profile that names machines by a column had let the name through.
    road.rows(
        "UPDATE prediction SET machine_id = (SELECT id FROM machine WHERE name = 'demo-mill-1') WHERE row <= 10"
        " AND file_id = (SELECT id FROM file WHERE name = 'a.csv') RETURNING id"
    )
    there = demo_rows.count(road.box)
    assert (there.files, there.rows, there.predictions, there.machines, there.alarms, there.kept) == (1, 4, 4, 0, 1, 1)
    assert "1 more such machine" in demo_rows.remove(road.box).sentence()
    assert road.rows("SELECT count(*) AS n FROM prediction") == [{"n": 160}]
    assert {row["name"] for row in road.rows("SELECT name FROM machine")} == {"mill-1", "demo-mill-1"}
    alarms_of = "SELECT count(*) AS n FROM alarm JOIN machine m ON m.id = machine_id WHERE m.name"
    assert road.rows(f"{alarms_of} = 'demo-mill-1'") == [{"n": 0}]
    assert road.rows(f"{alarms_of} = 'mill-1'") == [{"n": 1}]
    assert road.broken_promises() == []
    assert not demo_rows.remove(road.box)


def test_a_broken_off_claim_is_cleared_away(road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    road.drop("milling", "demo-a.csv", mill, "demo-mill-1")

    def die(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "ingested", die)
        with pytest.raises(Cut):
            road.ingest()
    assert unaccounted(road)
    removed = demo_rows.remove(road.box)
    assert (removed.waiting, removed.arrivals, removed.files) == (1, 1, 0)
    assert on_disk(road) == {}
    assert list(road.settings.work.iterdir()) == [road.settings.work / ".pass"]


def test_a_running_simulator_is_named(road: Road) -> None:
    with demo_lock.playing(road.settings.raw), pytest.raises(Conflict, match=r"simulator is running.*Stop it first"):
        demo_rows.remove(road.box)
    with demo_lock.silence(road.settings.raw), pytest.raises(Conflict, match="being removed"):
        demo_lock.playing(road.settings.raw).__enter__()
    assert not demo_rows.remove(road.box)
    assert os.listdir(road.settings.raw) == []  # noqa: PTH208


def test_a_pass_is_waited_for(road: Road, mill: bytes) -> None:
    import threading

    road.drop("milling", "a.csv", mill, "demo-mill-1")
    done: list[Any] = []
    remover = threading.Thread(target=lambda: done.append(demo_rows.remove(road.box)))
    with intake.exclusive(road.settings.work):
        remover.start()
        remover.join(0.3)
        assert not done
        assert road.waiting() == [".demo-lock", "a.csv"]
    remover.join(30)
    assert done[0].waiting == 1


def test_predictions_for_a_machine_that_goes_wait_for_each_other(road: Road, mill: bytes) -> None:
    """Whoever predicts for a marked machine keeps it; whoever comes after its removal makes it anew."""
    import threading

    from appliance.store import models

    road.drop("milling", "a.csv", mill, "demo-mill-1")
    settled(road)
    [profile] = road.rows("SELECT id FROM profile WHERE name = 'milling'")
    done: list[Any] = []
    remover = threading.Thread(target=lambda: done.append(demo_rows.remove(road.box)))
    with engines.transaction(road.engine) as connection:
        kept = models.ensure_machines(connection, profile["id"], ["demo-mill-1"])
        remover.start()
        remover.join(1.0)
        assert not done, "the machine was removed under somebody's feet"
    remover.join(30)
    assert done[0].machines == 1
    with engines.transaction(road.engine) as connection:
        assert models.ensure_machines(connection, profile["id"], ["demo-mill-1"]) != kept


def test_the_command(road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    play(road, "milling", "--files", "2")
    settled(road)
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(road.settings.data_dir))
    monkeypatch.setenv("APPLIANCE_DSN", road.settings.require_dsn())
    capsys.readouterr()

    def run(*arguments: str) -> str:
        app(["demo-rows", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    there = json.loads(run("count", "--json"))
    assert (there["files"], there["rows"], there["predictions"], there["machines"]) == (4, 120, 120, 2)
    assert run("count", "--profile", "pump", "--json").count(": 0") == len(there)
    assert run("remove").startswith("Removed: 4 simulated files with 120 rows")
    assert run("remove") == "There are no simulated rows.\n"
