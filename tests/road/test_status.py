"""`appliance status` of a box that works, and of one whose database is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import status
from appliance.store import engine as engines
from tests.road.conftest import Road


def test_a_box_that_did_nothing_yet_says_never(road: Road) -> None:
    seen = status.look(road.settings, road.engine)
    said = dict(status.lines(seen))
    assert said["Newest file"] == said["Newest prediction"] == "never"
    assert said["Backlog"].startswith("0 parts")
    assert said["Database"].startswith("answers")
    assert seen.models["milling"]


@pytest.mark.usefixtures("api")
def test_what_came_waits_and_was_predicted_is_told(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    waiting = status.look(road.settings, road.engine)
    assert waiting.backlog["rows_waiting"] == 160
    assert waiting.ages["file"] is not None
    assert waiting.ages["prediction"] is None
    assert [run["kind"] for run in waiting.schedule] == ["ingest"]
    assert road.predict().rows == 160
    seen = status.look(road.settings, road.engine)
    assert seen.backlog["rows_waiting"] == 0
    assert seen.ages["prediction"] is not None
    assert {run["kind"]: run["outcome"] for run in seen.schedule} == {"ingest": "done", "predict": "done"}
    assert dict(status.lines(seen))["Last predict"].startswith("done, ")


def test_a_database_that_is_away_is_said_and_the_rest_still_told(road: Road, tmp_path: Path) -> None:
    away = engines.connect(f"postgresql://nobody@/none?host={tmp_path}")
    seen = status.look(road.settings, away)
    said = dict(status.lines(seen))
    assert "cannot be reached" in said["Database"]
    assert "Disk" in said
    assert "Backlog" not in said
