"""Stored predictions as a chart and as a download: both say what the list says."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.api import exporting
from appliance.client import Client
from appliance.errors import RequestError
from appliance.settings import Settings
from tests.api.conftest import People, Shelf, box
from tests.api.test_predict import FAILING, MILL, PUMP, PUMP_ROW, ROW
from tests.api.test_problems import assert_problem


@pytest.fixture
def settings(tmp_path: Path, dsn: str, shelf: Shelf) -> Settings:
    """A plant whose clock is like no other's."""
    return box(tmp_path / "box", dsn, shelf).model_copy(update={"timezone": "Asia/Kathmandu"})


@pytest.fixture
def history(people: People, monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    """Rows of two profiles and two sources; exported three at a time."""
    monkeypatch.setattr(exporting, "_PAGE", 3)
    for source, machine, rows in (("api", "mill-1", [ROW, FAILING]), ("webapp", "=mill()", [FAILING, ROW, ROW])):
        body = {"rows": rows, "machine": machine}
        assert people("operator", source).post("/predict", params=MILL, json=body).status_code == 200
    assert people("operator").post("/predict", params=PUMP, json={"rows": [PUMP_ROW]}).status_code == 200
    return people("viewer")


FILTERS: list[dict[str, Any]] = [
    {},
    {"profile": "milling"},
    {"source": "webapp"},
    {"verdict": "failing"},
    {"machine": "mill-1", "verdict": "passing"},
    {"min_probability": 1e-123},
    {"min_probability": 0.5},
    {"from": "2020-01-01", "to": "2020-01-02"},
    {"machine": "nobody"},
]


def exported(client: httpx.Client, **query: Any) -> list[dict[str, str]]:
    response = client.get("/predictions/export", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.text)))


@pytest.mark.parametrize("wanted", FILTERS)
def test_chart_and_download_say_what_the_list_says(history: httpx.Client, wanted: dict[str, Any]) -> None:
    listed = history.get("/predictions", params=wanted).json()["items"]
    counted = history.get("/predictions/counts", params=wanted).json()
    failing = sum(row["failing"] for row in listed)
    assert (counted["passing"], counted["failing"]) == (len(listed) - failing, failing)
    assert sum(row["passing"] + row["failing"] for row in counted["items"]) == len(listed)
    rows = exported(history, **wanted)
    assert [int(row["id"]) for row in rows] == [row["id"] for row in listed]
    for row, said in zip(rows, listed, strict=True):
        assert float(row["probability"]) == pytest.approx(said["probability"], rel=1e-6)
        assert (row["failing"], row["verdict"]) == (str(int(said["failing"])), said["verdict"])
        assert row["source"] == said["source"]


def test_a_download_is_in_plant_time_and_no_cell_is_a_formula(history: httpx.Client) -> None:
    rows = exported(history, source="webapp")
    assert {row["machine"] for row in rows} == {"'=mill()"}
    assert datetime.fromisoformat(rows[0]["predicted_at"]).utcoffset() == timedelta(hours=5, minutes=45)


def test_readings_and_ways_of_failing_come_on_request(history: httpx.Client) -> None:
    rows = exported(history, readings=True)
    (pump,) = [row for row in rows if row["profile"] == "pump"]
    assert float(pump["vibration"]) == pytest.approx(PUMP_ROW["vibration"])
    assert (pump["torque"], pump["mode_overstrain"]) == ("", "")
    mill = next(row for row in rows if row["profile"] == "milling" and row["failing"] == "1")
    assert float(mill["strain"]) == FAILING["torque"] * FAILING["tool_wear"]
    assert float(mill["mode_overstrain"]) > 0.3
    assert "torque" not in exported(history, profile="pump", readings=True)[0]


@pytest.mark.parametrize(
    ("asked", "by"),
    [({}, "day"), ({"from": "2026-01-01", "to": "2026-01-04"}, "hour"), ({"from": "2026-01-01"}, "day"), ({"by": "hour"}, "hour")],
)  # fmt: skip
def test_a_short_time_is_counted_by_the_hour(history: httpx.Client, asked: dict[str, str], by: str) -> None:
    assert history.get("/predictions/counts", params=asked).json()["by"] == by


def test_what_is_no_filter_is_refused_before_a_byte_is_sent(history: httpx.Client) -> None:
    for path in ("counts", "export"):
        for query in ({"by": "week"}, {"min_probability": "2"}, {"from": "2026-02-01", "to": "2026-01-01"}):
            assert_problem(history.get(f"/predictions/{path}", params=query), 400)


def test_the_client_counts_and_saves(history: httpx.Client, people: People, tmp_path: Path) -> None:
    with Client(people.address, people.token("viewer", "api", "saver")) as api:
        assert api.prediction_counts(profile="milling", from_="2020-01-01")["failing"] == 2
        target = tmp_path / "all.csv"
        with target.open("wb") as file:
            api.save_predictions(file, source="webapp")
        assert len(target.read_text().splitlines()) == 4
        with pytest.raises(RequestError), target.open("wb") as file:
            api.save_predictions(file, min_probability=2)
        assert target.stat().st_size == 0
