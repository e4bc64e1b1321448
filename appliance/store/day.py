"""The plant's day: what came, what became of it; and how old the newest of it is. Fast however long the box has run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

_AGES = (
    "SELECT clock_timestamp() AS now, (SELECT max(last_read_at) FROM machine_state) AS read_at,"
    " (SELECT arrived_at FROM arrival ORDER BY id DESC LIMIT 1) AS arrived_at,"
    " (SELECT max(last_predicted_at) FROM machine_state) AS predicted_at"
)
_DAY = """
    WITH came AS (
        SELECT f.id, f.state, f.criticality, f.rows_in, f.rows_good, f.rows_bad FROM file f
        JOIN profile ON profile.id = f.profile_id
        WHERE f.id >= :first AND f.arrived_at >= :from_ AND f.arrived_at < :to
        AND profile.name = coalesce(:profile, profile.name)
    )
    SELECT count(*) FILTER (WHERE state <> 'quarantined') AS files,
        count(*) FILTER (WHERE state = 'quarantined') AS quarantined,
        count(*) FILTER (WHERE state <> 'quarantined' AND criticality = 'high') AS critical,
        coalesce(sum(rows_in), 0)::bigint AS rows_in, coalesce(sum(rows_good), 0)::bigint AS rows_good,
        coalesce(sum(rows_bad), 0)::bigint AS rows_bad,
        (SELECT coalesce(sum(part.rows), 0)::bigint FROM part JOIN came ON came.id = part.file_id
            WHERE part.state = 'predicted') AS rows_predicted,
        (SELECT coalesce(sum(part.failing), 0)::bigint FROM part JOIN came ON came.id = part.file_id) AS rows_failing
    FROM came
"""
_ALARMS = (
    "SELECT count(*) FROM alarm a JOIN machine m ON m.id = a.machine_id JOIN profile ON profile.id = m.profile_id"
    " WHERE a.opened_at >= :from_ AND a.opened_at < :to AND profile.name = coalesce(:profile, profile.name)"
)


def ages(conn: Connection) -> dict[str, Any]:
    """``now`` by the database's clock, and the newest reading, file and prediction of machines; None before the first."""
    return dict(conn.execute(text(_AGES)).mappings().one())


def day(conn: Connection, from_: datetime, to: datetime, profile: str | None = None) -> dict[str, int]:
    """Files that arrived from then until then, their rows, and alarms that opened: of one profile, or of all."""
    asked = {"from_": from_, "to": to, "profile": profile}
    counts = dict(conn.execute(text(_DAY), {**asked, "first": _first_file(conn, from_)}).mappings().one())
    return {**counts, "alarms": conn.execute(text(_ALARMS), asked).scalar_one()}


def _first_file(conn: Connection, since: datetime) -> int:
    """An id before which no file is that new. Ids are given as files arrive, so it can be searched by halves: a handful
    of looks at the primary key in the place of a walk through years of files.

    A clock that was set back leaves a few files in the wrong order; the hour of grace is for them.
    """
    newest = conn.execute(text("SELECT coalesce(max(id), 0) FROM file")).scalar_one()
    low, high = 0, int(newest) + 1
    look = text(
        "SELECT id, arrived_at < CAST(:since AS timestamptz) - interval '1 hour' AS old FROM file"
        " WHERE id >= :middle ORDER BY id LIMIT 1"
    )
    while low < high:
        middle = (low + high) // 2
        found = conn.execute(look, {"middle": middle, "since": since}).first()
        if found is None or not found.old:
            high = middle
        else:
            low = int(found.id) + 1
    return low
