"""The figures of the box, once a minute."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text

from appliance.api import app as app_module
from appliance.api import pulse
from appliance.api.app import create_app
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import outbox
from tests.api.conftest import People, running
from tests.unit.store import made

ALWAYS = {
    "api_errors",
    "api_memory_bytes",
    "api_requests",
    "backlog_failed",
    "backlog_parts",
    "backlog_rows",
    "backlog_seconds",
    "box_cpu_share",
    "box_database_bytes",
    "box_disk_bytes",
    "box_disk_free_bytes",
    "box_faults",
    "box_load",
    "box_memory_share",
    "box_swap_bytes",
    "box_warnings",
}


def kept(engine: Engine) -> list[dict[str, float]]:
    """The figures of each minute, the oldest first."""
    with engines.transaction(engine) as connection:
        rows = connection.execute(text("SELECT at, name, value FROM metric ORDER BY at")).all()
    found: dict[object, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.at, {})[row.name] = row.value
    return list(found.values())


def test_a_minute_is_kept_with_what_was_asked_in_it(app: FastAPI, people: People, engine: Engine) -> None:
    people("viewer").get("/machines")
    people("viewer").get("/alarms")
    people.nobody.get("/health/ready")
    pulse.keep(app.state.api)
    pulse.keep(app.state.api)
    first, second = kept(engine)
    assert set(second) == ALWAYS
    assert set(first) == ALWAYS | {"api_seconds_p50", "api_seconds_p95", "api_seconds_most"}
    assert (first["api_requests"], first["api_errors"], second["api_requests"]) == (2, 0, 0)
    assert first["box_database_bytes"] > 1 << 20


def test_where_a_bucket_is_set_what_waits_for_it_is_kept_too(settings: Settings, engine: Engine) -> None:
    with engines.transaction(engine) as connection:
        made.ingested(connection, made.plant(connection).profile_id, [4], 2)
        outbox.gather(connection)
        outbox.weigh(connection, dict.fromkeys(outbox.unweighed(connection), 500))
    pulse.keep(create_app(settings.model_copy(update={"s3_bucket": "plant"}), engine).state.api)
    (minute,) = kept(engine)
    assert (minute["bucket_waiting"], minute["bucket_waiting_bytes"]) == (2, 1000)
    assert 0 <= minute["bucket_waiting_seconds"] < 600


def test_a_database_that_is_away_loses_the_minute_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    away = engines.connect(f"postgresql://nobody@/none?host={tmp_path}")
    pulse.keep(create_app(settings, away).state.api)


def test_the_running_api_keeps_them_by_itself(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "_PULSE_LOOKS", 2)
    monkeypatch.setattr(app_module, "_REFRESH_SECONDS", 0.02)
    with running(create_app(settings, engine), tmp_path / "api.sock"):
        until = time.monotonic() + 60
        while len(kept(engine)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    assert len(kept(engine)) >= 2
