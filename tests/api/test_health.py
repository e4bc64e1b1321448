"""Live, ready, metrics: and the checks behind them, each with its fault made for real."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from appliance import checks
from appliance.api import schema
from appliance.checks import Context, Fault
from appliance.serving import Models
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import models as model_store
from appliance.store.migrations import migrate
from tests import profiles
from tests.api.conftest import People
from tests.conftest import Cluster

ROW = schema.example_row(profiles.load("milling"))


@pytest.fixture
def context(settings: Settings, engine: Engine) -> Context:
    models = Models(settings)
    models.refresh()
    return Context(settings, engine, models, datetime.now(UTC))


def found(context: Context) -> dict[str, Fault]:
    faults = checks.run(replace(context, now=datetime.now(UTC)))
    for fault in faults:
        assert fault.sentence.endswith(".")
        assert fault.way_out
    return {fault.name: fault for fault in faults}


def test_a_box_in_order_has_no_fault(context: Context) -> None:
    assert found(context) == {}


def test_a_database_that_is_away_is_told_once(context: Context, tmp_path: Path) -> None:
    away = engines.connect(f"postgresql://nobody@/none?host={tmp_path}")
    faults = checks.run(replace(context, engine=away))
    assert [(fault.name, fault.severity) for fault in faults] == [("database", "fault")]


def test_a_database_without_tables_says_what_to_run(context: Context, cluster: Cluster) -> None:
    name = cluster.create("template1")
    empty = engines.connect(cluster.dsn(name))
    try:
        faults = {fault.name: fault for fault in checks.run(replace(context, engine=empty))}
        assert faults["migrations"].severity == "fault"
        assert "db migrate" in faults["migrations"].way_out
        migrate(cluster.dsn(name))
        assert checks.run(replace(context, engine=empty)) == []
    finally:
        empty.dispose()
        cluster.drop(name)


def test_a_profile_without_a_serving_model_is_a_fault(context: Context) -> None:
    (context.settings.models / "milling" / "active").write_text("20990101-000000000000")
    fresh = Models(context.settings)
    fresh.refresh()
    fault = found(replace(context, models=fresh))["model"]
    assert fault.severity == "fault"
    assert "'milling'" in fault.sentence


def test_a_clock_that_cannot_be_right(context: Context) -> None:
    for moment in (datetime(1970, 1, 2, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=3)):
        names = [fault.name for fault in checks.run(replace(context, now=moment))]
        assert "clock" in names


def test_rows_that_wait_too_long(context: Context, engine: Engine) -> None:
    with engines.transaction(engine) as connection:
        profile_id = model_store.ensure_profile(connection, profiles.load("milling"))
        connection.execute(
            text(
                "INSERT INTO arrival (profile_id, origin, name, path, size, mtime_ns, device, inode, sha256,"
                " contract_hash, claim, day, state) VALUES (:p, 'mill-1', 'a.csv', '/a', 1, 1, 1, 1, :h, :h, :h,"
                " current_date, 'ingested')"
            ),
            {"p": profile_id, "h": "0" * 64},
        )
        connection.execute(
            text(
                "INSERT INTO file (id, arrival_id, profile_id, origin, name, sha256, contract_hash, arrived_at, day,"
                " state, rows_in, rows_good, criticality, good_path, ingested_at) SELECT file_id, id, profile_id, origin,"
                " name, sha256, contract_hash, now() - interval '3 days', day, 'ingested', 5, 5, 'low', 'x',"
                " now() - interval '3 days' FROM arrival"
            )
        )
        connection.execute(text("INSERT INTO part (file_id, number, start, rows) SELECT id, 1, 0, 5 FROM file"))
    faults = found(context)
    assert faults["backlog"].sentence == "5 rows in 1 parts wait for their prediction, the oldest for 3 days."
    assert "3 days" in faults["silence"].sentence
    with engines.transaction(engine) as connection:
        connection.execute(text("UPDATE part SET state = 'failed'"))
    faults = found(context)
    assert "backlog" not in faults
    assert faults["failed_parts"].severity == "warning"


def test_files_that_nobody_takes(context: Context) -> None:
    folder = context.settings.raw / "milling"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("x")
    assert found(context) == {}
    soon = checks.run(replace(context, now=datetime.now(UTC) + timedelta(seconds=20 * 60)))
    assert "drop" in [fault.name for fault in soon]
    (context.settings.raw / "lathe").mkdir()
    (context.settings.raw / "lathe" / "b.csv").write_text("x")
    assert "lathe" in found(context)["drop"].sentence or "b.csv" in found(context)["drop"].sentence


def test_a_disk_that_is_full_or_will_be(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(context.settings.data_dir)

    def pretend(**changed: int) -> None:
        fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | changed
        monkeypatch.setattr(os, "statvfs", lambda _: type("Disk", (), fields))

    block = real.f_frsize
    pretend(f_flag=0, f_bavail=(100 << 20) // block)
    assert found(context)["disk"].severity == "fault"
    pretend(f_flag=0, f_blocks=(100 << 30) // block, f_bavail=(1 << 30) // block)
    assert found(context)["disk"].severity == "warning"
    pretend(f_flag=0, f_blocks=(100 << 30) // block, f_bavail=(50 << 30) // block, f_files=10_000, f_favail=10)
    assert "inodes" in found(context)["disk"].sentence


def test_a_check_that_breaks_is_a_fault_itself(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.disk, "check", lambda _: 1 // 0)
    faults = checks.run(context)
    assert [fault.severity for fault in faults] == ["warning"]
    assert "disk" in faults[0].sentence


def test_ready_is_short_and_asking_often_costs_nothing(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    real = checks.run
    monkeypatch.setattr(checks, "run", lambda context: looks.append(context) or real(context))
    monkeypatch.setattr("appliance.api.state._HEALTH_SECONDS", 3600.0)
    answers = [people.nobody.get("/health/ready") for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].json() == {"ready": True, "faults": []}
    assert people.nobody.get("/health/live").json() == {"live": True}
    assert len(looks) == 1


def test_metrics_count_what_happened(people: People, token: Callable[..., str]) -> None:
    operator, viewer = people("operator"), people("viewer")
    operator.post("/predict", params={"profile": "milling"}, json={"rows": [ROW], "machine": "m"})
    operator.post("/predict", params={"profile": "milling"}, json={"rows": [ROW | {"torque": -1}]})
    people.nobody.get("/files", headers={"authorization": "Bearer fa_wrong"})
    people.nobody.get("/nothing/like/it")
    assert people.nobody.get("/metrics").status_code == 401
    response = viewer.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    figures = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))
    row = 'profile="milling",source="api",verdict='
    assert float(figures[f'appliance_predictions_total{{{row}"passing"}}']) == 1
    assert float(figures[f'appliance_predictions_total{{{row}"failing"}}']) == 0
    assert float(figures['appliance_rows_refused_total{profile="milling"}']) == 1
    assert float(figures["appliance_tokens_refused_total"]) == 1
    assert float(figures['appliance_requests_total{method="POST",route="/predict",status="200"}']) == 1
    assert float(figures['appliance_requests_total{method="POST",route="/predict",status="422"}']) == 1
    assert float(figures['appliance_requests_total{method="GET",route="unknown",status="404"}']) == 1
    assert float(figures["appliance_store_up"]) == 1
    assert float(figures['appliance_backlog{kind="parts_waiting"}']) == 0
    assert "fa_wrong" not in response.text


def test_the_box_at_a_glance(still: People, people: People) -> None:
    seen = still("viewer").get("/health/status").json()
    assert seen["site"] == "site"
    assert seen["models"]["milling"]
    assert seen["database"] == ""
    assert {"file", "prediction"} <= set(seen["ages"])
    assert seen["disk_free_bytes"] > 0
    assert people.nobody.get("/health/status").status_code == 401
