"""Health: faults first with their way out, and the rest told even where the database is what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from sqlalchemy import text

from appliance.api.state import Api
from appliance.store import outbox
from tests.ui.conftest import Box, Browser, texts
from tests.unit.store import made


def test_a_box_in_order_says_when_it_was_looked_at(browse: Callable[..., Browser]) -> None:
    said = texts(browse("viewer")("health"))
    assert "No fault was found, looked at " in said
    assert "Newest file, ago: never" in said
    assert "Database answers, " in said
    assert "Model of milling: " in said


def test_what_waits_for_the_bucket_and_how_long_the_disk_lasts(
    browse: Callable[..., Browser], box: Box, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with box.engine.begin() as connection:
        made.ingested(connection, made.plant(connection).profile_id, [4], 2)
        outbox.gather(connection)
        connection.execute(text("UPDATE outbox SET error = 'The store is full.', tries = 1, tried_at = now()"))
        connection.execute(
            text(
                "INSERT INTO metric (at, name, value) SELECT clock_timestamp() - make_interval(days => d),"
                " 'box_disk_free_bytes', 20e9 + d * 1e9 FROM generate_series(0, 4) AS d"
            )
        )
    api: Api = app.state.api  # type: ignore[attr-defined]
    monkeypatch.setattr(api, "settings", api.settings.model_copy(update={"s3_bucket": "plant"}))
    said = texts(browse("viewer")("health"))
    assert "Disk full in 20 days" in said
    assert "Bucket: 2 objects with 0.0 GiB wait to be copied, and are kept here (The store is full" in said


def test_faults_come_first_with_their_way_out(browse: Callable[..., Browser], box: Box, app: object) -> None:
    shutil.rmtree(box.settings.models / "pump")
    with box.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    api: Api = app.state.api  # type: ignore[attr-defined]
    api._faults = None
    said = texts(browse("viewer")("health"))
    assert "Way out: " in said
    assert "No fault was found" not in said
    assert "Appliance " in said
