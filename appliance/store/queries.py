# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""What screens ask for: lists, newest first, and one of each. Predictions are in :mod:`appliance.store.search`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from appliance.errors import NotFound
from appliance.store.search import PredictionFilter, counts, prediction, predictions, whole

__all__ = [
    "AlarmState",
    "PredictionFilter",
    "alarms",
    "backlog",
    "clock",
    "counts",
    "file",
    "files",
    "issue_totals",
    "issues",
    "machines",
    "models",
    "outcomes",
    "prediction",
    "predictions",
    "whole",
]

AlarmState = Literal["open", "acknowledged", "snoozed", "closed"]

_FILE = (
    "SELECT f.id, f.arrival_id, profile.name AS profile, f.origin, f.name, f.sha256, f.contract_hash, f.arrived_at,"
    " f.day, f.state, f.rows_in, f.rows_good, f.rows_bad, f.criticality, f.reason, f.sentence, f.good_path,"
    " f.bad_path, f.report_path, f.quarantine_path, f.header, f.encoding, f.mended_from, f.ingested_at, f.predicted_at,"
    " coalesce((SELECT sum(part.rows) FROM part WHERE part.file_id = f.id AND part.state = 'predicted'), 0)::bigint"
    " AS rows_predicted,"
    " (SELECT sum(part.failing) FROM part WHERE part.file_id = f.id)::bigint AS rows_failing"
    " FROM file f JOIN profile ON profile.id = f.profile_id"
)
# One word for an alarm, the same on every screen. A snooze that is over shows what was before.
_ALARM_STATE = (
    "CASE WHEN a.closed_at IS NOT NULL THEN 'closed' WHEN a.snoozed_until > clock_timestamp() THEN 'snoozed'"
    " WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END"
)


def files(
    conn: Connection,
    *,
    profile: str | None = None,
    criticality: str | None = None,
    state: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    mended_from: int | None = None,
    limit: int = 100,
    after_id: int | None = None,
) -> list[dict[str, Any]]:
    """Files by id, newest first; times are those of the arrival. ``mended_from``: the file whose bad rows they hold."""
    conditions = {
        "profile.name = :profile": profile,
        "f.criticality = :criticality": criticality,
        "f.state = :state": state,
        "f.arrived_at >= :from_": from_,
        "f.arrived_at < :to": to,
        "f.mended_from = :mended_from": mended_from,
        "f.id < :after_id": after_id,
    }
    return _listed(conn, _FILE, conditions, "f.id DESC", limit)


def file(conn: Connection, file_id: int) -> dict[str, Any]:
    """NotFound where there is none."""
    found = _listed(conn, _FILE, {"f.id = :file_id": file_id}, "f.id", 1)
    if not found:
        raise NotFound(f"There is no file {file_id}.")
    return found[0]


def issues(conn: Connection, file_id: int) -> list[dict[str, Any]]:
    """Rules that the file's rows broke: rule, column, count, examples; the most frequent first. NotFound."""
    file(conn, file_id)
    query = 'SELECT q.rule, q.column_name AS "column", q.count, q.examples FROM quality_issue q'
    return _listed(conn, query, {"q.file_id = :file_id": file_id}, "q.count DESC, q.rule, q.column_name", None)


def issue_totals(
    conn: Connection,
    *,
    profile: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Rules that rows of files broke, over all files that arrived in the time: profile, rule, column, rows, files, and
    the newest file with it; the most frequent first."""
    conditions = {
        "profile.name = :profile": profile,
        "f.arrived_at >= :from_": from_,
        "f.arrived_at < :to": to,
    }
    held = {condition: value for condition, value in conditions.items() if value is not None}
    where = f" WHERE {' AND '.join(held)}" if held else ""
    query = (
        'SELECT profile.name AS profile, q.rule, q.column_name AS "column", sum(q.count)::bigint AS rows,'
        " count(*) AS files, max(f.id) AS newest_file_id"
        " FROM quality_issue q JOIN file f ON f.id = q.file_id JOIN profile ON profile.id = f.profile_id"
        f"{where} GROUP BY 1, 2, 3 ORDER BY rows DESC, files DESC, 1, 2, 3 LIMIT :limit"
    )
    parameters = {condition.rpartition(":")[2]: value for condition, value in held.items()}
    return [dict(row) for row in conn.execute(text(query), {**parameters, "limit": limit}).mappings()]


def alarms(
    conn: Connection,
    *,
    state: AlarmState | None = None,
    closed: bool | None = None,
    profile: str | None = None,
    machine: str | None = None,
    limit: int = 100,
    after_id: int | None = None,
) -> list[dict[str, Any]]:
    """Episodes, newest first. A snoozed one that is acknowledged too counts as snoozed; ``outcome`` is what was told of
    it last, None before that."""
    query = (
        f"SELECT a.id, {_ALARM_STATE} AS state, profile.name AS profile, m.name AS machine, a.opened_at, a.last_seen_at,"
        " a.rows, a.probability, a.first_prediction_id, a.last_prediction_id, a.details, a.acknowledged_at,"
        " a.acknowledged_by, a.note, a.snoozed_until, a.closed_at, a.close_reason,"
        " (SELECT o.kind FROM outcome o WHERE o.machine_id = a.machine_id AND o.alarm_id = a.id"
        " ORDER BY o.id DESC LIMIT 1) AS outcome"
        " FROM alarm a JOIN machine m ON m.id = a.machine_id JOIN profile ON profile.id = m.profile_id"
    )
    conditions = {
        f"{_ALARM_STATE} = :state": state,
        "(a.closed_at IS NOT NULL) = :closed": closed,
        "profile.name = :profile": profile,
        "m.name = :machine": machine,
        "a.id < :after_id": after_id,
    }
    return _listed(conn, query, conditions, "a.id DESC", limit)


def machines(conn: Connection, profile: str | None = None, machine: str | None = None) -> list[dict[str, Any]]:
    """Every machine with its last timely reading, the verdicts of its last rows (the oldest first) and its open alarm,
    by profile and name. ``reason_id``: the prediction that says what is wrong with it, None where nothing is."""
    query = (
        "SELECT m.id, m.name, profile.name AS profile, s.last_id, s.last_probability, s.last_failing,"
        " s.last_predicted_at, s.last_read_at, s.verdicts, s.alarm_id, s.recent -> -1 AS last_row,"
        f" CASE WHEN a.id IS NULL THEN NULL ELSE jsonb_build_object('id', a.id, 'state', {_ALARM_STATE},"
        " 'opened_at', a.opened_at, 'last_seen_at', a.last_seen_at, 'rows', a.rows, 'probability', a.probability,"
        " 'acknowledged_at', a.acknowledged_at, 'acknowledged_by', a.acknowledged_by, 'note', a.note,"
        " 'snoozed_until', a.snoozed_until, 'details', a.details) END AS alarm,"
        " coalesce(a.last_prediction_id, CASE WHEN s.last_failing THEN s.last_id END) AS reason_id"
        " FROM machine m JOIN profile ON profile.id = m.profile_id LEFT JOIN machine_state s ON s.machine_id = m.id"
        " LEFT JOIN alarm a ON a.id = s.alarm_id AND a.closed_at IS NULL"
    )
    conditions = {"profile.name = :profile": profile, "m.name = :machine": machine}
    return _listed(conn, query, conditions, "profile.name, m.name", None)


def models(conn: Connection, profile: str | None = None) -> list[dict[str, Any]]:
    """Versions that served here, newest first."""
    query = (
        "SELECT m.id, profile.name AS profile, m.version, m.active, m.installed_at, m.activated_at, m.card,"
        " m.features, m.modes FROM model m JOIN profile ON profile.id = m.profile_id"
    )
    return _listed(conn, query, {"profile.name = :profile": profile}, "m.id DESC", None)


def outcomes(
    conn: Connection,
    *,
    profile: str | None = None,
    machine: str | None = None,
    limit: int = 100,
    after_id: int | None = None,
) -> list[dict[str, Any]]:
    """What people told, newest first."""
    query = (
        "SELECT o.id, profile.name AS profile, m.name AS machine, o.alarm_id, o.happened_at, o.kind, o.who, o.note,"
        " o.predicted, o.created_at"
        " FROM outcome o JOIN machine m ON m.id = o.machine_id JOIN profile ON profile.id = m.profile_id"
    )
    conditions = {"profile.name = :profile": profile, "m.name = :machine": machine, "o.id < :after_id": after_id}
    return _listed(conn, query, conditions, "o.id DESC", limit)


def backlog(conn: Connection, profile: str | None = None) -> dict[str, float]:
    """What waits, as numbers by kind; ages in seconds are left out where there is nothing that could have one."""
    row = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE p.state = 'waiting') AS parts_waiting,"
            " coalesce(sum(p.rows) FILTER (WHERE p.state = 'waiting'), 0) AS rows_waiting,"
            " count(*) FILTER (WHERE p.state = 'failed') AS parts_failed,"
            " extract(epoch FROM clock_timestamp() - min(f.ingested_at) FILTER (WHERE p.state = 'waiting'))"
            " AS oldest_waiting_seconds,"
            " (SELECT count(*) FROM arrival a JOIN profile ON profile.id = a.profile_id"
            " WHERE a.cleared_at IS NULL AND profile.name = coalesce(:profile, profile.name)) AS arrivals_uncleared"
            " FROM part p JOIN file f ON f.id = p.file_id JOIN profile ON profile.id = f.profile_id"
            " WHERE p.state <> 'predicted' AND profile.name = coalesce(:profile, profile.name)"
        ),
        {"profile": profile},
    ).one()
    return {name: float(value) for name, value in row._mapping.items() if value is not None}


def clock(conn: Connection) -> datetime:
    """The database's clock."""
    now: datetime = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def _listed(
    conn: Connection, query: str, conditions: Mapping[str, Any], order: str, limit: int | None
) -> list[dict[str, Any]]:
    """``conditions`` are those whose parameter is not None; the parameter's name stands in the condition."""
    held = {condition: value for condition, value in conditions.items() if value is not None}
    where = f" WHERE {' AND '.join(held)}" if held else ""
    parameters = {condition.rpartition(":")[2]: value for condition, value in held.items()}
    found = conn.execute(text(f"{query}{where} ORDER BY {order} LIMIT :limit"), {**parameters, "limit": limit})
    return [dict(row) for row in found.mappings()]
