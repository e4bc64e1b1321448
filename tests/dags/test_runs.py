"""Each way that a run of the schedule can go, played by Airflow itself on a real box."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from sqlalchemy import text

from appliance import intake, maintain
from appliance.api.app import create_app
from appliance.store import engine as engines
from appliance.store import journal
from tests.api.conftest import running
from tests.dags.conftest import Stage
from tests.road.conftest import Road

LOOK, SPLIT, FIGURES, ALERTS = "look_for_files", "validate_and_split", "record_statistics", "send_alerts"
CHECK, PREDICT = "check_for_new_data", "predict_parts"
ALL_DONE = {LOOK: "success", SPLIT: "success", FIGURES: "success", ALERTS: "success"}


def runs(road: Road) -> list[dict[str, Any]]:
    return road.rows("SELECT kind, outcome, why, counts FROM run ORDER BY id")


@contextmanager
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """An address for messages, and what came there."""
    came: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_empty_minute_is_skipped_and_recorded(stage: Stage, road: Road) -> None:
    for dag, first in (("ingest", LOOK), ("predict", CHECK)):
        played = stage.play(dag, road.settings)
        assert played.state == "success"
        assert set(played.states.values()) == {"skipped"}, played.states
        assert played.states[first] == "skipped"
    assert [(run["kind"], run["outcome"], run["why"]) for run in runs(road)] == [
        ("ingest", "skipped", "no new files"),
        ("predict", "skipped", "no new good data"),
    ]


@pytest.mark.usefixtures("api")
def test_a_good_file_is_taken_counted_and_predicted(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    played = stage.play("ingest", road.settings)
    assert (played.state, played.states) == ("success", ALL_DONE)
    metrics = {row["name"]: row["value"] for row in road.rows("SELECT name, value FROM metric")}
    assert (metrics["ingest_rows_in"], metrics["ingest_rows_good"], metrics["rows_waiting"]) == (160, 160, 160)
    played = stage.play("predict", road.settings)
    assert (played.state, set(played.states.values())) == ("success", {"success"})
    assert [(run["kind"], run["outcome"]) for run in runs(road)] == [("ingest", "done"), ("predict", "done")]
    assert road.rows("SELECT count(*) AS rows FROM prediction") == [{"rows": 160}]
    assert road.broken_promises() == []


@pytest.mark.parametrize(("spoiled", "criticality"), [(3, "low"), (160, "high")])
def test_bad_rows_are_split_off_and_told(stage: Stage, road: Road, mill: bytes, spoiled: int, criticality: str) -> None:
    lines = mill.decode().splitlines(keepends=True)
    for number in range(1, spoiled + 1):
        cells = lines[number].split(",")
        lines[number] = ",".join([*cells[:6], "512.0", *cells[7:]])
    road.drop("milling", "a.csv", "".join(lines).encode(), "mill-1")
    with receiver() as (address, came):
        played = stage.play("ingest", road.settings, notify_targets=address)
    assert (played.state, played.states) == ("success", ALL_DONE)
    [file] = road.rows("SELECT * FROM file")
    assert (file["rows_bad"], file["rows_good"], file["criticality"]) == (spoiled, 160 - spoiled, criticality)
    [figure] = road.rows(
        "SELECT value FROM metric WHERE name = 'ingest_files' AND labels ->> 'criticality' = :level", level=criticality
    )
    assert figure["value"] == 1
    assert len(came) == (criticality == "high")
    # A file without a good row leaves nothing to predict.
    waiting = stage.play("predict", road.settings.model_copy(update={"api_socket": None, "api_url": "http://[::1]:9"}))
    assert waiting.states[CHECK] == ("skipped" if spoiled == 160 else "success")


def test_an_unreadable_file_is_quarantined(stage: Stage, road: Road) -> None:
    road.drop("milling", "bomb.csv", gzip.compress(b"0" * 100_000, mtime=0), "mill-1")
    played = stage.play("ingest", road.settings)
    assert (played.state, played.states) == ("success", ALL_DONE)
    assert road.rows("SELECT state, reason FROM file") == [{"state": "quarantined", "reason": "compressed"}]
    assert road.rows("SELECT value FROM metric WHERE name = 'ingest_quarantined'") == [{"value": 1.0}]
    assert road.waiting() == []


def test_without_the_api_the_run_fails_after_retries_and_is_told_once(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    with receiver() as (address, came):
        for _ in range(2):
            played = stage.play("predict", road.settings, notify_targets=address)
            assert played.state == "failed"
            assert played.states == {CHECK: "success", PREDICT: "failed", ALERTS: "success"}
            assert played.tries[PREDICT] == 4
    assert len(came) == 1
    assert "Predicting" in json.dumps(came)
    assert {part["tries"] for part in road.rows("SELECT tries FROM part")} == {0}
    assert {run["outcome"] for run in runs(road) if run["kind"] == "predict"} == {"failed"}

    assert road.settings.api_socket is not None
    with running(create_app(road.settings, road.engine), road.settings.api_socket):
        played = stage.play("predict", road.settings)
    assert (played.state, played.tries[PREDICT]) == ("success", 1)
    assert road.rows("SELECT count(*) AS rows FROM prediction") == [{"rows": 160}]
    events = [event["kind"] for event in road.rows("SELECT kind FROM event ORDER BY id")]
    assert events == ["run_failed", "run_recovered"]
    assert road.broken_promises() == []


@pytest.mark.usefixtures("api")
def test_a_part_that_fails_five_times_is_given_up_and_stops_no_other(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.drop("milling", "b.csv", mill + b"\n", "mill-2")
    road.ingest()
    good = road.settings.data_dir / road.rows("SELECT good_path FROM file ORDER BY id LIMIT 1")[0]["good_path"]
    good.write_bytes(b"no parquet")
    for number in range(5):
        if number in (0, 4):
            played = stage.play("predict", road.settings)
            assert (played.state, played.states[PREDICT]) == ("failed", "failed")
            # The API said no: to ask it again at once would be pointless.
            assert played.tries[PREDICT] == 1
        else:
            assert road.predict().failed == 3
        assert road.rows("SELECT min(tries) AS tries FROM part WHERE state <> 'predicted'") == [{"tries": number + 1}]
        road.rows("UPDATE part SET next_try_at = clock_timestamp() WHERE state = 'waiting' RETURNING id")
    assert road.rows("SELECT state, count(*) AS parts FROM part GROUP BY 1 ORDER BY 1") == [
        {"state": "failed", "parts": 3},
        {"state": "predicted", "parts": 3},
    ]
    assert stage.play("predict", road.settings).states[PREDICT] == "skipped"
    assert {event["kind"] for event in road.rows("SELECT kind FROM event")} == {"part_failed"}


@pytest.mark.parametrize("how", ["exception", "panic"])
def test_a_poisonous_file_stops_no_other_and_ends_in_quarantine(
    stage: Stage, road: Road, mill: bytes, how: str
) -> None:
    road.drop("milling", "poison.csv", mill, "mill-1")
    breaks = {"name": "poison.csv", "how": how}
    for number in range(2):
        road.drop("milling", f"{number}.csv", mill + b"\n" * (number + 1), "mill-1")
        played = stage.play("ingest", road.settings, breaks, file_tries="2")
        assert (played.state, played.states) == ("success", ALL_DONE)
        assert road.rows("SELECT count(*) AS files FROM file WHERE state = 'ingested'") == [{"files": number + 1}]
    [file] = road.rows("SELECT * FROM file WHERE state = 'quarantined'")
    assert file["reason"] == "poisonous"
    assert (road.settings.data_dir / file["quarantine_path"]).read_bytes() == mill
    assert "It is kept unchanged" in (road.settings.data_dir / file["report_path"]).read_text()
    events = [(event["kind"], event["severity"]) for event in road.rows("SELECT kind, severity FROM event ORDER BY id")]
    assert events == [("file_broke_off", "warning"), ("file_given_up", "error")]
    assert road.waiting() == []
    assert road.broken_promises() == []


def test_a_database_that_is_away_fails_the_run_and_loses_nothing(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    for dag, first in (("ingest", LOOK), ("predict", CHECK)):
        away = stage.play(dag, road.settings, dsn=f"postgresql://nobody@/none?host={road.settings.data_dir}")
        assert (away.state, away.states.pop(first)) == ("failed", "failed")
        assert set(away.states.values()) == {"upstream_failed"}
    assert "PostgreSQL cannot be reached" in stage.told()
    assert road.waiting() == ["a.csv"]
    assert stage.play("ingest", road.settings).state == "success"


def test_a_failed_pass_is_told_by_the_same_run(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    (road.settings.keys / "another.pub").write_text("no key")
    with receiver() as (address, came):
        played = stage.play("ingest", road.settings, notify_targets=address)
    assert played.state == "failed"
    assert played.states == {LOOK: "success", SPLIT: "failed", FIGURES: "upstream_failed", ALERTS: "success"}
    assert "Taking files in fails" in json.dumps(came)
    assert road.waiting() == ["a.csv"]


def test_a_pass_by_hand_is_not_disturbed(stage: Stage, road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    with intake.exclusive(road.settings.work):
        played = stage.play("ingest", road.settings)
    assert (played.state, played.states) == (
        "success",
        {LOOK: "success", SPLIT: "skipped", FIGURES: "skipped", ALERTS: "success"},
    )
    assert [(run["outcome"], run["why"]) for run in runs(road)] == [("skipped", "Another pass is running.")]
    assert road.waiting() == ["a.csv"]


@pytest.mark.parametrize(("dag", "work"), [("ingest", SPLIT), ("predict", PREDICT)])
def test_a_message_that_is_due_goes_out_without_work(stage: Stage, road: Road, dag: str, work: str) -> None:
    with engines.transaction(road.engine) as connection:
        journal.event(connection, "disk_low", "error", "5 % of the disk are left.")
    with receiver() as (address, came):
        played = stage.play(dag, road.settings, notify_targets=address)
    assert played.state == "success"
    assert (played.states[work], played.states[ALERTS]) == ("skipped", "success")
    assert "5 % of the disk" in json.dumps(came)
    assert set(stage.play(dag, road.settings, notify_targets=address).states.values()) == {"skipped"}
    assert [run["outcome"] for run in runs(road)] == ["skipped", "skipped"]


def test_the_night_is_played_by_airflow(stage: Stage, road: Road) -> None:
    old_run = stage.play("ingest", road.settings).run_id
    assert stage.airflow.airflow_dsn is not None
    airflow = engines.connect(stage.airflow.airflow_dsn.get_secret_value())
    with engines.transaction(airflow) as connection:
        for table in ("dag_run", "task_instance"):
            aged = f"UPDATE {table} SET start_date = start_date - interval '40 days' WHERE run_id = :run"
            connection.execute(text(aged), {"run": old_run})
    young_run = stage.play("ingest", road.settings).run_id
    log = stage.airflow.airflow / "logs" / "ingest" / "2001-01-01" / "1.log"
    past = datetime.now(UTC).date() - timedelta(days=road.settings.archive_days + 2)
    original = road.settings.archive / "profile=milling" / f"date={past}" / "a.csv.1"
    for path in (log, original):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")
        os.utime(path, (10**9, 10**9))
    played = stage.play("maintain", road.settings)
    assert (played.state, set(played.states.values())) == ("success", {"success"}), played.states
    with engines.transaction(airflow) as connection:
        left = set(connection.execute(text("SELECT run_id FROM dag_run WHERE dag_id = 'ingest'")).scalars())
        archived = connection.execute(text("SELECT count(*) FROM pg_class WHERE relname LIKE '_airflow_deleted%'"))
        assert archived.scalar_one() == 0
    airflow.dispose()
    assert (old_run in left, young_run in left) == (False, True)
    assert (log.exists(), original.exists()) == (False, False)
    steps = road.rows("SELECT counts ->> 'step' AS step, outcome FROM run WHERE kind = 'maintain'")
    done = {step.__name__: "done" for step in (*maintain.STEPS, *maintain.AIRFLOW_STEPS)}
    assert {step["step"]: step["outcome"] for step in steps} == done
