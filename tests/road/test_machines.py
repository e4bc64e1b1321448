"""What predictions do to machines: states, windows, late rows, alarms."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from appliance import features, outputs
from appliance.store.rows import LATE
from model.plants import PLANTS, csv_bytes
from tests.profiles import load
from tests.road.conftest import Road

pytestmark = pytest.mark.usefixtures("api")

HEADER = (
    "UDI,Product ID,Type,Air temperature [K],Process temperature [K],Rotational speed [rpm],Torque [Nm],"
    "Tool wear [min]\n"
)


def _mill(*rows: tuple[float, int], first: int = 1) -> bytes:
    """Rows of (torque, wear); a torque of 50 at a wear of 240 is above the limit of strain."""
    lines = [f"{n},L{n:05d},L,300,310,1500,{torque},{wear}\n" for n, (torque, wear) in enumerate(rows, start=first)]
    return (HEADER + "".join(lines)).encode()


GOOD, BAD = (40.0, 5), (50.0, 240)


def _walk(road: Road, name: str, data: bytes, profile: str = "milling", machine: str = "mill-1") -> None:
    road.drop(profile, name, data, machine)
    road.ingest()
    road.predict()


def test_an_alarm_opens_once_with_reason_and_action_and_closes_when_calm(road: Road) -> None:
    rule = load("milling").alarms
    _walk(road, "1.csv", _mill(*[GOOD] * 5, *[BAD] * (rule.needed - 1)))
    assert road.rows("SELECT * FROM alarm") == []
    _walk(road, "2.csv", _mill(*[BAD] * 4, first=100))
    [alarm] = road.rows("SELECT * FROM alarm")
    assert alarm["closed_at"] is None
    assert alarm["rows"] == 4
    assert alarm["details"]["text"].startswith("Strain 12,000 min N.m, limit 11,000")
    assert alarm["details"]["action"]
    _walk(road, "3.csv", _mill(*[GOOD] * (rule.calm - 1), first=200))
    assert road.rows("SELECT closed_at FROM alarm") == [{"closed_at": None}]
    _walk(road, "4.csv", _mill(GOOD, first=300))
    [alarm] = road.rows("SELECT * FROM alarm")
    assert alarm["close_reason"] == "calm"
    assert road.rows("SELECT alarm_id, last_failing FROM machine_state") == [{"alarm_id": None, "last_failing": False}]


def test_an_alarm_is_of_one_machine(road: Road) -> None:
    _walk(road, "1.csv", _mill(BAD, BAD), machine="mill-1")
    _walk(road, "2.csv", _mill(BAD, BAD), machine="mill-2")
    assert road.rows("SELECT * FROM alarm") == []


def test_windows_reach_over_files(road: Road) -> None:
    """A file cut in two is predicted as it would be whole."""
    data = csv_bytes(PLANTS["pump"](), 40, seed=11).decode("windows-1252").splitlines(keepends=True)
    for name, lines in (("1.csv", data[1:24]), ("2.csv", data[24:])):
        _walk(road, name, (data[0] + "".join(lines)).encode("windows-1252"), "pump", "")
    paths = [row["good_path"] for row in road.rows("SELECT good_path FROM file ORDER BY id")]
    whole = pl.concat([outputs.read_part(road.settings.data_dir / path, 0, 100) for path in paths], how="diagonal")
    stored = [row["features"] for row in road.rows("SELECT features FROM prediction ORDER BY id")]
    np.testing.assert_allclose(np.array(stored, dtype=np.float32), features.matrix(load("pump"), whole), rtol=1e-6)


def test_late_rows_are_scored_marked_and_move_nothing(road: Road) -> None:
    data = csv_bytes(PLANTS["pump"](), 40, seed=11).decode("windows-1252").splitlines(keepends=True)
    early, later = data[1:11], data[11:31]
    _walk(road, "later.csv", (data[0] + "".join(later)).encode("windows-1252"), "pump", "")
    before = road.rows("SELECT machine_id, verdicts, last_id, last_read_at FROM machine_state ORDER BY 1")
    _walk(road, "early.csv", (data[0] + "".join(early)).encode("windows-1252"), "pump", "")
    flags = road.rows("SELECT flags FROM prediction ORDER BY id DESC LIMIT 10")
    assert all(row["flags"] & LATE for row in flags)
    assert road.rows("SELECT machine_id, verdicts, last_id, last_read_at FROM machine_state ORDER BY 1") == before


def test_the_last_reading_is_remembered_for_forms(road: Road) -> None:
    _walk(road, "1.csv", _mill(GOOD, (41.5, 7)))
    [state] = road.rows("SELECT recent, last_id FROM machine_state")
    assert state["recent"][-1]["torque"] == 41.5
    assert road.rows("SELECT max(id) AS last FROM prediction") == [{"last": state["last_id"]}]
