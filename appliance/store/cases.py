"""What the past tells about a row: earlier predictions of its machine, and cases whose end is known.

All of it is bounded: few outcomes are told, and of alarms that calmed down by themselves the newest are enough.
"""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Connection, text

from appliance.names import DEMO
from appliance.store.queries import PredictionFilter, predictions

TOLD, CALMED = 300, 40


def machine_id(conn: Connection, profile: str, name: str) -> int | None:
    """The id of a machine; None where there is none of that name yet."""
    found = conn.execute(
        text(
            "SELECT m.id FROM machine m JOIN profile ON profile.id = m.profile_id"
            " WHERE profile.name = :profile AND m.name = :name"
        ),
        {"profile": profile, "name": name},
    )
    return found.scalar()


def earlier(conn: Connection, prediction: dict[str, Any], most: int, *, features: bool) -> list[dict[str, Any]]:
    """The machine's predictions before one that :func:`appliance.store.queries.prediction` gave, the newest first.

    As lists of predictions show them; with ``features``, those of the same model with theirs (missing is None).
    """
    wanted = PredictionFilter(profile=prediction["profile"], machine=prediction["machine"])
    found = predictions(conn, wanted, most, after_id=prediction["id"])
    if features and found:
        query = text("SELECT p.id, p.features FROM prediction p WHERE p.id = ANY(:ids)")
        rows = conn.execute(query, {"ids": [row["id"] for row in found]})
        known = {row.id: [None if math.isnan(value) else value for value in row.features] for row in rows}
        same = [row for row in found if row["model_version"] == prediction["model_version"] and row["id"] in known]
        found = [row | {"features": known[row["id"]]} for row in same]
    return found


def told(conn: Connection, profile: str, *, simulated: bool, most: int = TOLD) -> list[dict[str, Any]]:
    """The newest outcomes that hold a copy of the features they are about: became (the kind), at, machine,
    prediction_id, alarm_id, probability, note, features (by name). Those of simulated machines only where asked for."""
    found = conn.execute(
        text(
            "SELECT o.kind AS became, o.happened_at AS at, m.name AS machine,"
            " CAST(o.predicted ->> 'prediction_id' AS bigint) AS prediction_id, o.alarm_id,"
            " CAST(o.predicted ->> 'probability' AS float8) AS probability, o.note, o.predicted -> 'features' AS features"
            " FROM outcome o JOIN machine m ON m.id = o.machine_id JOIN profile ON profile.id = m.profile_id"
            " WHERE profile.name = :profile AND o.predicted -> 'features' IS NOT NULL"
            " AND (:simulated OR NOT starts_with(m.name, :demo)) ORDER BY o.id DESC LIMIT :most"
        ),
        {"profile": profile, "simulated": simulated, "demo": DEMO, "most": most},
    )
    return [dict(row) for row in found.mappings()]


def calmed(conn: Connection, profile: str, *, simulated: bool, most: int = CALMED) -> list[dict[str, Any]]:
    """The newest alarms that calmed down and of which nobody told anything, with the row that began them; as above."""
    found = conn.execute(
        text(
            "SELECT 'calm' AS became, a.closed_at AS at, a.machine, p.id AS prediction_id, a.id AS alarm_id,"
            " p.probability, '' AS note, p.features, model.features AS names FROM (SELECT a.*, m.name AS machine"
            " FROM alarm a JOIN machine m ON m.id = a.machine_id JOIN profile ON profile.id = m.profile_id"
            " WHERE profile.name = :profile AND a.close_reason = 'calm'"
            " AND (:simulated OR NOT starts_with(m.name, :demo))"
            " AND NOT EXISTS (SELECT FROM outcome o WHERE o.alarm_id = a.id) ORDER BY a.id DESC LIMIT :most) AS a"
            " JOIN prediction p ON p.id = a.first_prediction_id JOIN model ON model.id = p.model_id"
        ),
        {"profile": profile, "simulated": simulated, "demo": DEMO, "most": most},
    )
    rows = [dict(row) for row in found.mappings()]
    return [row | {"features": dict(zip(row.pop("names"), row["features"], strict=True))} for row in rows]
