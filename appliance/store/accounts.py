# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""The books: how many rows came in and what became of them, and every promise about them that does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

# The event that says which predictions were removed for their age: all of before the moment in its details.
REMOVED = "predictions_removed"


@dataclass(frozen=True, slots=True)
class Accounts:
    """rows_in = rows_good + rows_bad; rows_good = rows_predicted + rows_waiting + rows_failed.

    What was predicted stays counted as such when its predictions are removed for their age.
    """

    rows_in: int
    rows_good: int
    rows_bad: int
    rows_predicted: int
    rows_waiting: int
    rows_failed: int  # in parts that were given up
    arrivals: int
    files: int  # accepted
    duplicates: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that does not hold: ``name`` is a stable word, ``subject`` says of what (``file 12``)."""

    name: str
    subject: str
    sentence: str


def accounting(conn: Connection, profile: str | None = None) -> Accounts:
    """The sums over all files (of one profile)."""
    row = conn.execute(
        text(
            """
            WITH mine AS (SELECT id FROM profile WHERE name = coalesce(:profile, name)),
            files AS (
                SELECT coalesce(sum(rows_in), 0) AS rows_in, coalesce(sum(rows_good), 0) AS rows_good,
                       coalesce(sum(rows_bad), 0) AS rows_bad,
                       count(*) FILTER (WHERE state <> 'quarantined') AS files,
                       count(*) FILTER (WHERE state = 'quarantined') AS quarantined
                FROM file WHERE profile_id IN (SELECT id FROM mine)),
            parts AS (
                SELECT coalesce(sum(p.rows) FILTER (WHERE p.state = 'predicted'), 0) AS rows_predicted,
                       coalesce(sum(p.rows) FILTER (WHERE p.state = 'waiting'), 0) AS rows_waiting,
                       coalesce(sum(p.rows) FILTER (WHERE p.state = 'failed'), 0) AS rows_failed
                FROM part p JOIN file f ON f.id = p.file_id WHERE f.profile_id IN (SELECT id FROM mine)),
            arrivals AS (
                SELECT count(*) AS arrivals, count(*) FILTER (WHERE state = 'duplicate') AS duplicates
                FROM arrival WHERE profile_id IN (SELECT id FROM mine))
            SELECT * FROM files, parts, arrivals
            """
        ),
        {"profile": profile},
    ).one()
    return Accounts(**{name: int(value) for name, value in row._mapping.items()})


# Parts whose predictions are to be there: all that were predicted, but for those of months that were removed for their
# age. What was removed is on record, and a part's rows are of one moment, so they are gone together or not at all; the
# hour is for a part that was marked as predicted just after its rows' month ended.
_KEPT = (
    "(SELECT p.* FROM part p WHERE p.state = 'predicted' AND NOT (p.predicted_at < (SELECT coalesce(max(("
    f"details ->> 'before')::timestamptz) + interval '1 hour', '-infinity') FROM event WHERE kind = '{REMOVED}')"
    " AND NOT EXISTS (SELECT FROM prediction x WHERE x.id BETWEEN p.first_id AND p.last_id"
    " AND x.file_id = p.file_id)))"
)

# Name, the sentence about a subject, and a query for (subject, figures of the sentence). :since bounds the files.
_PROMISES: tuple[tuple[str, str, str], ...] = (
    (
        "rows_in",
        "has {0} rows in, but {1} good and {2} bad ones",
        "SELECT 'file ' || id, rows_in, rows_good, rows_bad FROM file"
        " WHERE arrived_at >= :since AND rows_in <> rows_good + rows_bad",
    ),
    (
        "parts",
        "has {0} good rows, but parts of {1} rows together",
        "SELECT 'file ' || f.id, f.rows_good, coalesce(sum(p.rows), 0) FROM file f LEFT JOIN part p ON p.file_id = f.id"
        " WHERE f.arrived_at >= :since GROUP BY f.id HAVING f.rows_good <> coalesce(sum(p.rows), 0)",
    ),
    (
        "part_order",
        "has parts that leave a gap or overlap at part {0}",
        "SELECT 'file ' || file_id, number FROM (SELECT p.file_id, p.number, p.start, coalesce(sum(p.rows) OVER"
        " (PARTITION BY p.file_id ORDER BY p.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before"
        " FROM part p JOIN file f ON f.id = p.file_id WHERE f.arrived_at >= :since) AS o WHERE start <> before",
    ),
    (
        "arrival",
        "is {0}, but its file is {1}",
        "SELECT 'arrival ' || a.id, a.state, coalesce(f.state, 'not there') FROM arrival a"
        " LEFT JOIN file f ON f.arrival_id = a.id WHERE a.arrived_at >= :since AND CASE a.state"
        " WHEN 'ingested' THEN f.id IS NULL OR f.state = 'quarantined'"
        " WHEN 'quarantined' THEN f.id IS NULL OR f.state <> 'quarantined'"
        " ELSE f.id IS NOT NULL END",
    ),
    (
        "file_state",
        "is {0}, while {1} of its {2} parts are predicted",
        "SELECT 'file ' || f.id, f.state, count(p.id) FILTER (WHERE p.state = 'predicted'), count(p.id)"
        " FROM file f LEFT JOIN part p ON p.file_id = f.id WHERE f.arrived_at >= :since GROUP BY f.id"
        " HAVING (f.state IN ('predicted', 'synced', 'evicted'))"
        " <> (f.state <> 'quarantined' AND count(p.id) = count(p.id) FILTER (WHERE p.state = 'predicted'))",
    ),
    (
        "predicted_rows",
        "has {0} good rows in predicted parts, but {1} predictions",
        "SELECT 'file ' || f.id, coalesce(p.rows, 0), coalesce(r.rows, 0) FROM file f"
        f" LEFT JOIN (SELECT file_id, sum(rows) AS rows FROM {_KEPT} AS kept GROUP BY file_id) AS p"
        " ON p.file_id = f.id"
        " LEFT JOIN (SELECT file_id, count(*) AS rows FROM prediction WHERE predicted_at >= :since"
        " AND file_id IS NOT NULL GROUP BY file_id) AS r ON r.file_id = f.id"
        " WHERE f.arrived_at >= :since AND coalesce(p.rows, 0) <> coalesce(r.rows, 0)",
    ),
    (
        "part_predictions",
        "has {0} rows, but {1} predictions among its ids",
        f"SELECT 'part ' || p.id, p.rows, r.rows FROM {_KEPT} AS p JOIN file f ON f.id = p.file_id"
        " CROSS JOIN LATERAL (SELECT count(*) AS rows FROM prediction x"
        " WHERE x.id BETWEEN p.first_id AND p.last_id AND x.file_id = p.file_id) AS r"
        " WHERE f.arrived_at >= :since AND r.rows <> p.rows",
    ),
    (
        "row_twice",
        "has row {0} predicted {1} times",
        "SELECT 'file ' || file_id, row, count(*) FROM prediction WHERE predicted_at >= :since"
        " AND file_id IS NOT NULL GROUP BY file_id, row HAVING count(*) > 1",
    ),
    (
        "prediction_of_no_file",
        "is not there, but has {0} predictions",
        "SELECT 'file ' || r.file_id, count(*) FROM prediction r LEFT JOIN file f ON f.id = r.file_id"
        " WHERE r.predicted_at >= :since AND r.file_id IS NOT NULL AND f.id IS NULL GROUP BY r.file_id",
    ),
    (
        "content_twice",
        "has the same content, contract and origin as file {0}",
        "SELECT 'file ' || max(id), min(id) FROM file WHERE state <> 'quarantined'"
        " GROUP BY profile_id, origin, sha256, contract_hash HAVING count(*) > 1 AND max(arrived_at) >= :since",
    ),
)
_EVER = datetime(1, 1, 2, tzinfo=UTC)


def violations(conn: Connection, since: datetime | None = None, limit: int = 100) -> list[Violation]:
    """Every promise that does not hold for files that arrived since then (or ever); empty is well.

    Reads all predictions since then: seconds for millions. At most ``limit`` of each name.
    """
    conn.execute(text("SET LOCAL statement_timeout = 0"))
    found = []
    for name, sentence, query in _PROMISES:
        rows = conn.execute(text(f"{query} LIMIT :limit"), {"since": since or _EVER, "limit": limit})
        found += [Violation(name, row[0], f"{row[0]} {sentence.format(*row[1:])}") for row in rows]
    conn.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
    return found
