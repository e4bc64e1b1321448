"""How Airflow is, from what an api-server says; here any web server may say it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from appliance.airflow import config, health
from appliance.checks import Context, Fault, scheduler
from appliance.settings import Settings
from appliance.store import engine as engines
from tests.airflow.conftest import command as run
from tests.airflow.conftest import environment_of, settings_of

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Says:
    """What the server answers."""

    status: int = 200
    body: bytes = b"{}"

    def health(self, seconds: float | None, scheduler: str = "healthy", database: str = "healthy") -> None:
        beat = None if seconds is None else (NOW - timedelta(seconds=seconds)).isoformat()
        told = {
            "metadatabase": {"status": database},
            "scheduler": {"status": scheduler, "latest_scheduler_heartbeat": beat},
        }
        self.body = json.dumps(told).encode()


@pytest.fixture
def says() -> Says:
    return Says()


@pytest.fixture
def settings(tmp_path: Path, says: Says) -> Iterator[Settings]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(says.status if self.path == "/api/v2/monitor/health" else 404)
            self.end_headers()
            self.wfile.write(says.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none", airflow_port=server.server_port)
    server.shutdown()
    server.server_close()
    thread.join()


def check(settings: Settings) -> list[Fault]:
    engine = engines.connect(settings.require_dsn())
    return scheduler.check(Context(settings, engine, None, NOW))


def test_a_fresh_heartbeat_is_no_fault(settings: Settings, says: Says) -> None:
    says.health(4.0)
    assert check(settings) == []


def test_a_scheduler_that_hangs_alive_is_told_with_the_way_out(settings: Settings, says: Says) -> None:
    says.health(61.0)
    [fault] = check(settings)
    assert (fault.name, fault.severity) == ("scheduler", "fault")
    assert "last sign of life 61 s ago" in fault.sentence
    assert "restart both services together" in fault.way_out


def test_a_scheduler_that_was_stopped_a_moment_ago_is_one_too(settings: Settings, says: Says) -> None:
    says.health(2.0, scheduler="unhealthy")
    assert len(check(settings)) == 1


def test_a_scheduler_that_never_ran(settings: Settings, says: Says) -> None:
    says.health(None, scheduler="unhealthy")
    [fault] = check(settings)
    assert "has never run" in fault.sentence


def test_a_database_that_airflow_does_not_reach(settings: Settings, says: Says) -> None:
    says.health(None, scheduler="unhealthy", database="unhealthy")
    [fault] = check(settings)
    assert "cannot reach its database" in fault.sentence


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (404, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"metadatabase": {"status": "healthy"}, "scheduler": null}'),
        (
            200,
            b'{"metadatabase": {"status": "healthy"}, "scheduler": {"latest_scheduler_heartbeat": "soon", "status": ""}}',
        ),
        (200, b"\xff"),
    ],
)
def test_whoever_else_listens_there_is_no_api_server(settings: Settings, says: Says, status: int, body: bytes) -> None:
    says.status, says.body = status, body
    [fault] = check(settings)
    assert "does not answer" in fault.sentence


def test_nobody_there(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none", airflow_port=1)
    [fault] = check(settings)
    assert "does not answer at http://127.0.0.1:1." in fault.sentence
    said = run(environment_of(settings), "health", code=1).stdout
    assert said.strip() == fault.sentence
    told = json.loads(run(environment_of(settings), "health", "--json", code=1).stdout)
    assert (told["reachable"], told["well"], told["heartbeat_seconds"]) == (False, False, None)


def test_a_box_whose_schedule_is_kept_otherwise_is_not_asked(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none", airflow_port=1, schedule="other")
    assert check(settings) == []


def test_who_watches_a_scheduler_does_not_blame_it_for_an_api_server_that_went(
    settings: Settings, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW

    monkeypatch.setattr(health, "datetime", Clock)
    url = config.home_url(settings)
    pages, beat = health.watch(url, "api-server"), health.watch(url, "scheduler")
    says.status = 500
    assert pages() is not None
    assert beat() is not None, "it was never seen at work"
    says.status = 200
    says.health(3.0)
    assert (pages(), beat()) == (None, None)
    says.status = 500
    assert pages() is not None
    assert beat() is None
    says.status = 200
    says.health(100.0)
    assert pages() is None
    assert "100 s ago" in (beat() or "")
