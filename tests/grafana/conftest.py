"""Two boxes that Grafana may look at: one that was set up just now, and one after its first hour."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Session
from sqlalchemy import text
from sqlalchemy.engine import make_url

from appliance import pipeline
from appliance.api import pulse
from appliance.api.app import create_app
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import alarms, outbox, report
from appliance.store import engine as engines
from appliance.store.engine import Engine
from model.plants import PLANTS, csv_bytes
from tests.api.conftest import Shelf, address, app, box, make_token, people, running, settings, shelf, token
from tests.conftest import Cluster

__all__ = ["address", "app", "people", "settings", "shelf", "token"]

ROLE = "grafana"


@dataclass(frozen=True)
class Looked:
    """A database as the reader sees it, and the stretch of time that is looked at."""

    name: str
    session: Session
    since: datetime
    until: datetime

    def rows(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and the rows."""
        with self.session.cursor() as cursor:
            cursor.execute(sql)
            return [column.name for column in cursor.description or ()], cursor.fetchall()


@contextmanager
def looking(dsn: str, name: str) -> Iterator[Looked]:
    """Make the reader, and look as it does."""
    with psycopg2.connect(dsn) as owner, owner.cursor() as cursor:
        cursor.execute(report.reader_sql(ROLE))
    owner.close()
    session = psycopg2.connect(make_url(dsn).set(username=ROLE).render_as_string(hide_password=False))
    session.autocommit = True
    now = datetime.now(UTC)
    yield Looked(name, session, now - timedelta(hours=24), now + timedelta(minutes=1))
    session.close()


@pytest.fixture(scope="session")
def empty(embedded_cluster: Cluster) -> Iterator[Looked]:
    with looking(embedded_cluster.dsn(embedded_cluster.create()), "empty") as looked:
        yield looked


@pytest.fixture(scope="session")
def hour(embedded_cluster: Cluster, shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    """Mills and pumps that sent files, good and bad, over the real road; alarms, answers, figures of the box."""
    dsn = embedded_cluster.dsn(embedded_cluster.create())
    engine = engines.connect(dsn, "tests")
    folder = tmp_path_factory.mktemp("hour")
    settings = box(folder / "box", dsn, shelf).model_copy(
        update={"settle_seconds": 0.0, "part_rows": 300, "api_socket": folder / "api.sock", "s3_bucket": "plant"}
    )
    token = make_token(engine, "operator", "scheduled")
    settings = Settings(**(settings.model_dump() | {"api_token": token}))
    _live(settings, engine)
    with looking(dsn, "hour") as looked:
        yield looked
    engine.dispose()


@pytest.fixture(params=["empty", "hour"])
def looked(request: pytest.FixtureRequest) -> Looked:
    found: Looked = request.getfixturevalue(request.param)
    return found


def _live(settings: Settings, engine: Engine) -> None:
    for machine, rows in (("mill-1", 400), ("mill-2", 300)):
        _drop(settings, "milling", f"{machine}.csv", csv_bytes(PLANTS["milling"](), rows, seed=rows), machine)
    _drop(settings, "pump", "pumps.csv", csv_bytes(PLANTS["pump"](), 400, seed=3))
    broken = csv_bytes(PLANTS["milling"](), 60, seed=9).replace(b",L,", b",Q,")
    _drop(settings, "milling", "bad.csv", broken, "mill-2")
    _drop(settings, "milling", "last-week.csv", broken.replace(b",M,", b",Q,"), "mill-2")
    _drop(settings, "milling", "refused.csv", b"\x00\x01 no table", "mill-2")
    app = create_app(settings, engine)
    assert settings.api_socket is not None
    with running(app, settings.api_socket):
        box = Box(settings, engine)
        done = pipeline.ingest(box)
        pipeline.record_statistics(box, done.run)
        with engines.transaction(engine) as connection:
            outbox.gather(connection)
        pipeline.predict(box)
        row = {
            "type": "L",
            "air_temperature": 300,
            "process_temperature": 310,
            "speed": 1500,
            "torque": 50,
            "tool_wear": 240,
        }
        with box.client() as client:
            client.predict_rows([row], profile="milling", machine="mill-1")
        for _ in range(3):
            pulse.keep(app.state.api)
            time.sleep(0.01)
    with engines.transaction(engine) as connection:
        _answer(connection)


def _answer(connection: Any) -> None:
    machines = connection.execute(text("SELECT id, name FROM machine WHERE name <> '-' ORDER BY name")).all()
    now = datetime.now(UTC)
    details = {"mode": "x", "title": "Overstrain", "text": "Strain 12,000, limit 11,000", "action": "Change the tool."}
    connection.execute(text("UPDATE machine_state SET alarm_id = NULL"))
    connection.execute(
        text("UPDATE alarm SET closed_at = clock_timestamp(), close_reason = 'calm' WHERE closed_at IS NULL")
    )
    for hours, kind in ((9, "failure"), (7, "false_alarm"), (5, "failure"), (4, "planned_work"), (3, None)):
        opened = now - timedelta(hours=hours)
        alarm = alarms.open_alarm(connection, machines[0].id, opened, 4, 0.9, None, details)
        alarms.close(connection, alarm, "calm")
        if kind is not None:
            happened = opened + timedelta(hours=2)
            alarms.record_outcome(connection, machines[0].id, happened, kind, "somebody", "", None, alarm)
    alarms.record_outcome(
        connection, machines[1].id, now - timedelta(hours=1), "missed_failure", "somebody", "", None, None
    )
    alarms.open_alarm(connection, machines[1].id, now - timedelta(minutes=20), 4, 0.9, None, details)
    connection.execute(
        text(
            "INSERT INTO run (kind, started_at, finished_at, outcome, why) VALUES ('predict', :at, :at, 'failed', 'no API')"
        ),
        {"at": now - timedelta(hours=2)},
    )
    connection.execute(text("UPDATE file SET arrived_at = arrived_at - interval '7 days' WHERE name = 'last-week.csv'"))
    # A night's backup, and the drill with it.
    connection.execute(
        text(
            "INSERT INTO backup (name, place, made_at, bytes, sha256, revision, drilled_at) VALUES"
            " ('night', '/p', now() - interval '9 hours', 1, repeat('0', 64), '0014', now() - interval '8 hours')"
        )
    )
    # A trend of the disk.
    connection.execute(
        text(
            "INSERT INTO metric (at, name, value) SELECT now() - make_interval(hours => h), 'box_disk_free_bytes', 5e10 + h * 1e9"
            " FROM generate_series(1, 40) AS h"
        )
    )


def _drop(settings: Settings, profile: str, name: str, data: bytes, machine: str = "") -> Path:
    folder = settings.raw / profile / machine
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(data)
    return path


def load(name: str) -> dict[str, Any]:
    """A committed file below grafana/."""
    found: dict[str, Any] = json.loads((Path("grafana") / name).read_text(encoding="utf-8"))
    return found
