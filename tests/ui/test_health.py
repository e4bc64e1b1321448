"""Health: faults first with their way out, and the rest told even where the database is what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from sqlalchemy import text

from appliance.api.state import Api
from tests.ui.conftest import Box, Browser, texts


def test_a_box_in_order_says_when_it_was_looked_at(browse: Callable[..., Browser]) -> None:
    said = texts(browse("viewer")("health"))
    assert "No fault was found, looked at " in said
    assert "Newest file, ago: never" in said
    assert "Database answers, " in said
    assert "Model of milling: " in said


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
