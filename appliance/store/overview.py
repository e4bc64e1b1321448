"""What a person wants to see at once: what came, what became of it, who is in alarm. Used by the demo and `status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Played:
    """The accounting of the files that a series of arrivals brought; content that came twice counts once."""

    files: int
    rows_in: int
    rows_good: int
    rows_bad: int
    rows_predicted: int
    failures_predicted: int
    duplicates: int
    quarantined: int
    issues: int  # pairs of rule and column that rows of a file broke, over all files
    file_ids: Sequence[int]

    def as_dict(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if name != "file_ids"}


def last_arrival(conn: Connection) -> int:
    """The id of the newest arrival, 0 before the first."""
    return int(conn.execute(text("SELECT coalesce(max(id), 0) FROM arrival")).scalar_one())


def played(conn: Connection, after: int) -> Played:
    """The accounting of all arrivals with a greater id than ``after``."""
    arrivals = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE state = 'duplicate') AS duplicates,"
            " count(*) FILTER (WHERE state = 'quarantined') AS quarantined,"
            " array_agg(DISTINCT CASE state WHEN 'duplicate' THEN duplicate_of WHEN 'ingested' THEN file_id END)"
            " AS file_ids FROM arrival WHERE id > :after"
        ),
        {"after": after},
    ).one()
    ids = sorted(id_ for id_ in arrivals.file_ids or [] if id_ is not None)
    files = conn.execute(
        text(
            "SELECT count(*) AS files, coalesce(sum(rows_in), 0) AS rows_in, coalesce(sum(rows_good), 0) AS rows_good,"
            " coalesce(sum(rows_bad), 0) AS rows_bad FROM file WHERE id = ANY(:ids)"
        ),
        {"ids": ids},
    ).one()
    # Counted in the rows themselves, not in what the parts say of them.
    rows = conn.execute(
        text(
            "SELECT count(*) AS predicted, count(*) FILTER (WHERE p.failing) AS failing FROM part"
            " JOIN prediction p ON p.id BETWEEN part.first_id AND part.last_id AND p.file_id = part.file_id"
            " WHERE part.file_id = ANY(:ids)"
        ),
        {"ids": ids},
    ).one()
    issues = conn.execute(text("SELECT count(*) FROM quality_issue WHERE file_id = ANY(:ids)"), {"ids": ids})
    return Played(
        files=files.files,
        rows_in=int(files.rows_in),
        rows_good=int(files.rows_good),
        rows_bad=int(files.rows_bad),
        rows_predicted=rows.predicted,
        failures_predicted=rows.failing,
        duplicates=arrivals.duplicates,
        quarantined=arrivals.quarantined,
        issues=issues.scalar_one(),
        file_ids=ids,
    )


def verdicts(conn: Connection, file_id: int) -> tuple[str | None, list[bool]]:
    """Where a file's good rows lie, and the verdict of each, in their order."""
    path = conn.execute(text("SELECT good_path FROM file WHERE id = :id"), {"id": file_id}).scalar_one()
    found = conn.execute(
        text(
            "SELECT p.failing FROM part JOIN prediction p ON p.id BETWEEN part.first_id AND part.last_id"
            " AND p.file_id = part.file_id WHERE part.file_id = :id ORDER BY part.number, p.id"
        ),
        {"id": file_id},
    )
    return path, list(found.scalars())


@dataclass(frozen=True, slots=True)
class Overview:
    files: int
    duplicates: int
    quarantined: int
    rows_good: int
    rows_bad: int
    rows_predicted: int
    parts_waiting: int
    last_arrival_at: datetime | None
    last_predicted_at: datetime | None
    now: datetime
    top_issue: tuple[str, str, int] | None  # rule, column, rows; over the last day
    # name, last_probability, last_failing, last_read_at, alarm (details of its latest one, or None), closed_at
    machines: Sequence[dict[str, Any]]


def overview(conn: Connection, profile: str) -> Overview:
    """One profile at a glance; all zero where it is not known yet."""
    counts = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE f.state <> 'quarantined') AS files,"
            " count(*) FILTER (WHERE f.state = 'quarantined') AS quarantined,"
            " coalesce(sum(f.rows_good), 0) AS good, coalesce(sum(f.rows_bad), 0) AS bad, clock_timestamp() AS now"
            " FROM file f JOIN profile ON profile.id = f.profile_id WHERE profile.name = :profile"
        ),
        {"profile": profile},
    ).one()
    parts = conn.execute(
        text(
            "SELECT coalesce(sum(part.rows) FILTER (WHERE part.state = 'predicted'), 0) AS predicted,"
            " count(*) FILTER (WHERE part.state = 'waiting') AS waiting, max(part.predicted_at) AS last FROM part"
            " JOIN file f ON f.id = part.file_id JOIN profile ON profile.id = f.profile_id"
            " WHERE profile.name = :profile"
        ),
        {"profile": profile},
    ).one()
    arrivals = conn.execute(
        text(
            "SELECT count(*) FILTER (WHERE a.state = 'duplicate') AS duplicates, max(a.arrived_at) AS last"
            " FROM arrival a JOIN profile ON profile.id = a.profile_id WHERE profile.name = :profile"
        ),
        {"profile": profile},
    ).one()
    issue = conn.execute(
        text(
            "SELECT q.rule, q.column_name, sum(q.count)::bigint AS rows FROM quality_issue q"
            " JOIN file f ON f.id = q.file_id JOIN profile ON profile.id = f.profile_id"
            " WHERE profile.name = :profile AND f.arrived_at > clock_timestamp() - interval '1 day' AND q.count > 0"
            " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1"
        ),
        {"profile": profile},
    ).first()
    machines = conn.execute(
        text(
            "SELECT m.name, s.last_probability, s.last_failing, s.last_read_at, last.details AS alarm, last.closed_at"
            " FROM machine m JOIN profile ON profile.id = m.profile_id JOIN machine_state s ON s.machine_id = m.id"
            " LEFT JOIN LATERAL (SELECT details, closed_at FROM alarm WHERE alarm.machine_id = m.id"
            " ORDER BY alarm.id DESC LIMIT 1) AS last ON true WHERE profile.name = :profile ORDER BY m.name"
        ),
        {"profile": profile},
    ).mappings()
    return Overview(
        files=counts.files,
        duplicates=arrivals.duplicates,
        quarantined=counts.quarantined,
        rows_good=int(counts.good),
        rows_bad=int(counts.bad),
        rows_predicted=int(parts.predicted),
        parts_waiting=parts.waiting,
        last_arrival_at=arrivals.last,
        last_predicted_at=parts.last,
        now=counts.now,
        top_issue=None if issue is None else (issue.rule, issue.column_name, issue.rows),
        machines=[dict(row) for row in machines],
    )
