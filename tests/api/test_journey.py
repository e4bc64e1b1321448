"""Files through the real pipeline: parts, lists, reports, and the client that screens and schedules use."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine, text

from appliance import bundle, pipeline, signing
from appliance.ahead import Ahead
from appliance.api import schema
from appliance.client import Client
from appliance.errors import Conflict, Forbidden, NotFound, RequestError
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import parts as part_store
from appliance.store import writer
from appliance.store.rows import Batch
from tests import profiles
from tests.api.conftest import Shelf

HEADER, GOOD = schema.example_csv(profiles.load("milling")).splitlines()


def lines(count: int, bad: int = 0) -> str:
    """A file of the mill: ``count`` rows, the first ``bad`` of them out of range."""
    rows = []
    for number in range(count):
        torque = -5 if number < bad else 30 + number % 30
        rows.append(f"{number + 1},M{number:05d},M,298.1,308.6,1551,{torque},{number % 200}")
    return "\n".join([HEADER, *rows]) + "\n"


def drop(settings: Settings, name: str, content: str, machine: str = "mill-1", profile: str = "milling") -> None:
    folder = settings.raw / profile / machine
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content, encoding="utf-8")


@pytest.fixture
def box(settings: Settings, engine: Engine, address: Path, token: Callable[..., str]) -> pipeline.Box:
    """The pipeline of the same box, with the schedule's token."""
    scheduled = settings.model_copy(
        update={
            "api_socket": address,
            "api_token": SecretStr(token("operator", "scheduled")),
            "settle_seconds": 0.0,
            "part_rows": 40,
        }
    )
    return pipeline.Box(scheduled, engine)


@pytest.fixture
def schedule(box: pipeline.Box) -> Iterator[Client]:
    with box.client() as client:
        yield client


@pytest.fixture
def api(address: Path, token: Callable[..., str]) -> Iterator[Client]:
    with Client(address, token("operator")) as client:
        yield client


def test_every_good_row_of_a_file_is_predicted_once(box: pipeline.Box, api: Client, engine: Engine) -> None:
    drop(box.settings, "shift.csv", lines(100, bad=7))
    pipeline.ingest(box)
    assert [part["rows"] for part in api.parts()] == [40, 40, 13]
    pipeline.predict(box)
    assert api.parts() == []
    (file,) = api.files()
    assert (file["rows_in"], file["rows_good"], file["rows_bad"]) == (100, 93, 7)
    assert (file["state"], file["rows_predicted"], file["profile"]) == ("predicted", 93, "milling")
    found = list(api.predictions(file=file["id"]))
    assert sorted(row["row"] for row in found) == list(range(8, 101))
    assert {row["source"] for row in found} == {"scheduled"}
    assert {row["machine"] for row in found} == {"mill-1"}
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 93
    assert [machine["name"] for machine in api.machines()] == ["mill-1"]
    figures = api._http.get("/metrics").text.splitlines()
    counted = [float(line.split()[-1]) for line in figures if line.startswith("appliance_predictions_total{")]
    assert sum(counted) == 93


class Taken:
    """How often the scores of a part were there when it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.allowed = True
        take = Ahead.take

        def counted(ahead: Ahead, *given: Any) -> Any:
            found = take(ahead, *given)
            self.count += found is not None
            return found if self.allowed else None

        monkeypatch.setattr(Ahead, "take", counted)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


def test_the_next_part_is_scored_while_this_one_is_stored(box: pipeline.Box, api: Client, taken: Taken) -> None:
    told = {}
    for machine, taken.allowed in (("mill-1", True), ("mill-2", False)):
        drop(box.settings, f"{machine}.csv", lines(100) + " " * (machine == "mill-2"), machine)
        pipeline.ingest(box)
        pipeline.predict(box)
        told[machine] = {
            row["row"]: (row["probability"], row["failing"], row["late"], row["outside"])
            for row in api.predictions(machine=machine)
        }
    assert taken.count == 4  # two of three parts, twice
    assert len(told["mill-1"]) == 100
    assert told["mill-1"] == told["mill-2"]


def test_a_new_model_has_no_use_for_the_scores_of_the_old_one(
    box: pipeline.Box, schedule: Client, app: FastAPI, shelf: Shelf, taken: Taken
) -> None:
    drop(box.settings, "shift.csv", lines(80))
    pipeline.ingest(box)
    first, second = schedule.parts()
    schedule.predict_part(first["id"])
    bundle.activate(box.settings.models, "milling", shelf.milling[1], signing.trusted_keys(box.settings.keys))
    app.state.api.refresh()
    schedule.predict_part(second["id"])
    assert taken.count == 0
    versions = {row["row"]: row["model_version"] for row in schedule.predictions()}
    assert versions[40] == shelf.milling[0]
    assert versions[41] == shelf.milling[1]


def test_what_was_scored_and_nobody_asks_for_is_let_go(
    box: pipeline.Box, schedule: Client, app: FastAPI, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(box.settings, "shift.csv", lines(80))
    pipeline.ingest(box)
    first, second = schedule.parts()
    schedule.predict_part(first["id"])
    monkeypatch.setattr("appliance.ahead.KEPT_SECONDS", 0.0)
    app.state.api.refresh()
    assert schedule.predict_part(second["id"])["rows"] == 40
    assert taken.count == 0


def test_a_reading_does_not_wait_for_the_rows_of_a_file_of_its_machine(
    box: pipeline.Box, schedule: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(box.settings, "shift.csv", lines(40))
    pipeline.ingest(box)
    (part,) = schedule.parts()
    row = schema.example_row(profiles.load("milling"))
    schedule.predict_rows([row], profile="milling", machine="mill-1")  # from here on the machine is known
    stored, go_on = threading.Event(), threading.Event()
    write = writer.write_predictions

    def slowly(connection: Any, batch: Batch) -> Any:
        done = write(connection, batch)
        if batch.file_id is not None:
            stored.set()
            assert go_on.wait(30)
        return done

    monkeypatch.setattr(writer, "write_predictions", slowly)
    with ThreadPoolExecutor(1) as pool:
        file = pool.submit(schedule.predict_part, part["id"])
        try:
            assert stored.wait(30)
            (reading,) = schedule.predict_rows([row], profile="milling", machine="mill-1")["predictions"]
            assert not reading["late"]
        finally:
            go_on.set()
        assert file.result(30)["rows"] == 40
    # The file's rows came before it, and whatever they say, the reading is what the machine was last.
    (machine,) = schedule.machines()
    assert machine["last_probability"] == pytest.approx(reading["probability"], abs=1e-6)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT last_id FROM machine_state")).scalar_one() == reading["id"]
        assert connection.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 42


def test_a_part_is_predicted_once_however_often_it_is_asked_for(box: pipeline.Box, schedule: Client) -> None:
    drop(box.settings, "shift.csv", lines(30))
    pipeline.ingest(box)
    (part,) = schedule.parts()
    first = schedule.predict_part(part["id"])
    again = schedule.predict_part(part["id"])
    assert (first["rows"], first["already"]) == (30, False)
    assert (again["rows"], again["already"]) == (30, True)
    assert len(list(schedule.predictions(source="scheduled"))) == 30


def test_a_part_that_another_works_on_is_a_conflict(box: pipeline.Box, schedule: Client, engine: Engine) -> None:
    drop(box.settings, "shift.csv", lines(30))
    pipeline.ingest(box)
    (part,) = schedule.parts()
    with engines.transaction(engine) as connection:
        part_store.lock_part(connection, part["id"])
        with pytest.raises(Conflict):
            schedule.predict_part(part["id"])
    assert schedule.predict_part(part["id"])["rows"] == 30


def test_a_part_that_cannot_be_predicted_counts_its_tries(box: pipeline.Box, schedule: Client, engine: Engine) -> None:
    drop(box.settings, "shift.csv", lines(30))
    pipeline.ingest(box)
    (part,) = schedule.parts()
    good = box.settings.data_dir / part["good_path"]
    whole = good.read_bytes()
    good.write_bytes(whole[: len(whole) // 2])
    for number in range(box.settings.part_tries):
        with pytest.raises(RequestError) as refused:
            schedule.predict_part(part["id"])
        assert refused.value.code == "part_failed"
        assert ("given up" in refused.value.way_out) == (number == box.settings.part_tries - 1)
    assert schedule.parts("waiting") == []
    (failed,) = schedule.parts("failed")
    assert failed["tries"] == box.settings.part_tries
    faults = {fault["name"]: fault for fault in schedule.faults()}
    assert "given up" in faults["failed_parts"]["sentence"]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 0
    # Mended, it is taken up again.
    good.write_bytes(whole)
    with engines.transaction(engine) as connection:
        assert part_store.retry_failed(connection) == 1
    assert schedule.predict_part(part["id"])["rows"] == 30


def test_only_the_schedule_predicts_parts(box: pipeline.Box, api: Client) -> None:
    drop(box.settings, "shift.csv", lines(3))
    pipeline.ingest(box)
    with pytest.raises(Forbidden):
        api.predict_part(api.parts()[0]["id"])


def test_a_file_with_bad_rows_tells_what_is_wrong(box: pipeline.Box, api: Client) -> None:
    drop(box.settings, 'sh"ift ä.csv', lines(10, bad=6))
    pipeline.ingest(box)
    (file,) = api.files(criticality="high")
    assert list(api.files(criticality="low")) == []
    assert not any(name.endswith("_path") for name in file)
    assert api.file(file["id"])["rows_bad"] == 6
    (issue,) = api.issues(file["id"])
    assert (issue["rule"], issue["column"], issue["count"]) == ("range", "torque", 6)
    (total,) = api.issue_totals(profile=file["profile"], from_=file["arrived_at"])
    assert (total["rule"], total["column"], total["rows"], total["files"]) == ("range", "torque", 6, 1)
    assert total["newest_file_id"] == file["id"]
    assert api.issue_totals(to=file["arrived_at"]) == []
    bad = api.bad_rows(file["id"]).decode()
    assert len(bad.splitlines()) == 7
    assert "outside" in bad
    report = api.file_report(file["id"])
    assert "Torque" in report
    assert "http" not in report.replace("http-equiv", "")
    raw = api._http.get(f"/files/{file['id']}/report")
    assert raw.headers["content-type"].startswith("text/html")
    assert "sandbox" in raw.headers["content-security-policy"]
    assert "script-src" not in raw.headers["content-security-policy"]
    disposition = api._http.get(f"/files/{file['id']}/bad").headers["content-disposition"]
    assert disposition.startswith("attachment;")
    assert disposition.count('"') == 2
    assert "%C3%A4" in disposition


def test_what_a_file_does_not_have_is_not_found(box: pipeline.Box, api: Client) -> None:
    drop(box.settings, "shift.csv", lines(5))
    pipeline.ingest(box)
    (file,) = api.files()
    assert file["has_bad"] is False
    with pytest.raises(NotFound):
        api.bad_rows(file["id"])
    drop(box.settings, "worse.csv", lines(5, bad=2))
    pipeline.ingest(box)
    worse = next(api.files())
    shutil.rmtree(box.settings.bad)
    with pytest.raises(NotFound):
        api.bad_rows(worse["id"])


def test_no_path_in_the_database_leads_out_of_the_data_folder(
    box: pipeline.Box, api: Client, engine: Engine, tmp_path: Path
) -> None:
    drop(box.settings, "shift.csv", lines(5, bad=2))
    pipeline.ingest(box)
    (file,) = api.files()
    (tmp_path / "secret").write_text("secret")
    for path in ("../secret", str(tmp_path / "secret"), "keys/../../secret"):
        with engines.transaction(engine) as connection:
            connection.execute(text("UPDATE file SET bad_path = :path"), {"path": path})
        with pytest.raises(NotFound):
            api.bad_rows(file["id"])


def test_a_quarantined_file_says_why(box: pipeline.Box, api: Client) -> None:
    drop(box.settings, "odd.csv", "no,column,of,ours\n1,2,3,4\n")
    pipeline.ingest(box)
    (file,) = api.files(state="quarantined")
    assert (file["reason"], file["criticality"]) == ("header", "high")
    assert file["sentence"]
    assert list(api.files(state="predicted")) == []


def test_lists_are_handed_out_page_by_page(box: pipeline.Box, api: Client) -> None:
    for number in range(5):
        drop(box.settings, f"{number}.csv", lines(30 + number))
    pipeline.ingest(box)
    pipeline.predict(box)
    every = list(api.predictions())
    assert len(every) == sum(30 + n for n in range(5))
    assert [row["id"] for row in every] == sorted((row["id"] for row in every), reverse=True)
    assert list(api.predictions(limit=7)) == every
    assert list(api.predictions(at_most=10, limit=3)) == every[:10]
    files = list(api.files(limit=2))
    assert len({file["id"] for file in files}) == 5


def test_filters_of_predictions_agree_with_the_rows(box: pipeline.Box, api: Client) -> None:
    for machine in ("mill-1", "mill-2"):
        drop(box.settings, f"{machine}.csv", lines(120), machine)
    pipeline.ingest(box)
    pipeline.predict(box)
    every = list(api.predictions())
    checks: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
        ({"machine": "mill-2"}, lambda row: row["machine"] == "mill-2"),
        ({"machine": "nobody"}, lambda row: False),
        ({"verdict": "failing"}, lambda row: row["failing"]),
        ({"verdict": "passing"}, lambda row: not row["failing"]),
        ({"min_probability": 0.3}, lambda row: row["probability"] >= 0.3),
        (
            {"min_probability": 0.01, "machine": "mill-1"},
            lambda r: r["probability"] >= 0.01 and r["machine"] == "mill-1",
        ),
        ({"source": "api"}, lambda row: False),
        ({"profile": "milling", "source": "scheduled"}, lambda row: True),
        ({"profile": "pump"}, lambda row: False),
        ({"from_": "2020-01-01", "to": "2999-01-01"}, lambda row: True),
        ({"to": "2020-01-01"}, lambda row: False),
    ]
    for filters, wanted in checks:
        assert list(api.predictions(**filters)) == [row for row in every if wanted(row)], filters
    assert {row["failing"] for row in every} == {True, False}


def test_a_machine_in_alarm_is_acknowledged_and_snoozed(box: pipeline.Box, api: Client) -> None:
    rows = [f"{n},M{n:05d},M,298.1,308.6,1400,60,{240 + n}" for n in range(20)]
    drop(box.settings, "worn.csv", "\n".join([HEADER, *rows]) + "\n")
    pipeline.ingest(box)
    pipeline.predict(box)
    (alarm,) = api.alarms()
    assert (alarm["machine"], alarm["profile"], alarm["state"]) == ("mill-1", "milling", "open")
    assert alarm["details"]["action"]
    assert api.ack(alarm["id"], "on my way")["state"] == "acknowledged"
    found = api.alarms("acknowledged")[0]
    assert (found["acknowledged_by"], found["note"]) == ("operator by api", "on my way")
    assert api.snooze(alarm["id"], 30)["state"] == "snoozed"
    assert api.alarms() == []
    assert [one["id"] for one in api.alarms("all", machine="mill-1")] == [alarm["id"]]
    assert api.alarms("closed") == []
    with pytest.raises(NotFound):
        api.ack(alarm["id"] + 1)
    for minutes in (0, -5, 10**6, 1.5, "30"):
        with pytest.raises(RequestError):
            api.snooze(alarm["id"], minutes)  # type: ignore[arg-type]
    with pytest.raises(RequestError):
        api.ack(alarm["id"], "x" * 501)


def test_parts_and_single_checks_go_side_by_side(box: pipeline.Box, api: Client, schedule: Client) -> None:
    drop(box.settings, "shift.csv", lines(400))
    pipeline.ingest(box)
    failures: list[BaseException] = []
    stop = threading.Event()
    row = schema.example_row(profiles.load("milling"))

    def check() -> None:
        try:
            while not stop.is_set():
                api.predict_rows([row], profile="milling", machine="mill-1")
        except BaseException as error:  # told below
            failures.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    pipeline.predict(box)
    stop.set()
    thread.join()
    assert failures == []
    assert len(list(api.predictions(source="scheduled"))) == 400
