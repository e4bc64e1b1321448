# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""What may go because the bucket has it, where one is set: nothing else does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from sqlalchemy import Connection, text

from appliance.names import DEMO
from appliance.store.retention import Month

# Whose rows, good and bad, the store confirmed; simulated rows are not copied, and are nobody's loss.
_CONFIRMED = (
    f"(starts_with(f.origin, '{DEMO}') OR (SELECT count(*) FROM outbox o WHERE o.file_id = f.id"
    " AND o.verified_at IS NOT NULL) = (f.rows_good > 0)::int + (f.rows_bad > 0)::int)"
)


def only_here(conn: Connection, before: date) -> set[int]:
    """Numbers of arrivals of earlier days whose rows are not all in the bucket: their originals stay."""
    query = text(
        "SELECT f.arrival_id FROM file f WHERE f.day < :before AND f.state IN ('ingested', 'predicted', 'failed')"
        f" AND NOT {_CONFIRMED}"
    )
    return set(conn.execute(query, {"before": before}).scalars())


def is_copied(conn: Connection, month: Month) -> bool:
    """Whether every prediction of a month is in the bucket."""
    query = text(
        f"SELECT last.id IS NULL OR (last.id <= coalesce((SELECT last_id FROM outbox_mark WHERE layer = 'predictions'), 0)"
        " AND NOT EXISTS (SELECT FROM outbox o WHERE o.layer = 'predictions' AND o.verified_at IS NULL"
        f" AND o.first_id <= last.id)) FROM (SELECT max(id) AS id FROM {month.name}) AS last"
    )
    return bool(conn.execute(query).scalar_one())


def copied_arrivals(conn: Connection, numbers: Sequence[int]) -> set[int]:
    """Those of these arrivals whose rows are all in the bucket."""
    query = text(
        "SELECT f.arrival_id FROM file f WHERE f.arrival_id = ANY(CAST(:numbers AS bigint[]))"
        f" AND f.state IN ('predicted', 'synced', 'evicted') AND {_CONFIRMED}"
    )
    return set(conn.execute(query, {"numbers": list(numbers)}).scalars())


def rows_here(conn: Connection) -> Iterator[tuple[int, list[str]]]:
    """Files whose rows lie on this disk, by the ledger: number, and paths below the data folder."""
    query = text(
        "SELECT id, array_remove(ARRAY[CASE WHEN rows_good > 0 THEN good_path END, CASE WHEN rows_bad > 0 THEN bad_path END],"
        " NULL) AS paths FROM file WHERE rows_in > 0 AND state NOT IN ('evicted', 'quarantined') ORDER BY id"
    )
    with conn.execute(query.execution_options(yield_per=10_000)) as found:
        for row in found:
            yield row.id, row.paths


def evict(conn: Connection, numbers: Sequence[int]) -> set[int]:
    """Mark those of these files as evicted that are synced; the numbers of all that are evicted now."""
    query = text(
        "UPDATE file SET state = 'evicted' WHERE id = ANY(CAST(:numbers AS bigint[])) AND state IN ('synced', 'evicted')"
        " RETURNING id"
    )
    return set(conn.execute(query, {"numbers": list(numbers)}).scalars())
