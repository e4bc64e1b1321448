# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""The figures of a pass over the drop folders, for curves: into the table ``metric``, all under the moment of its end.

======================================  =====================================================================
``ingest_rows_in``, ``_good``, ``_bad``  rows, by profile
``ingest_files``                        accepted files, by profile and criticality
``ingest_quarantined``                  files refused as a whole, by profile
``ingest_refused``                      the same by profile and reason, for reasons that there were
``ingest_delay_seconds``                from arrival to ingested, the longest of the pass, by profile
``ingest_duplicates``, ``_left``        files of known content, and those left for the next pass
``ingest_broken``                       files over which the pass broke off
``ingest_seconds``                      how long the pass took
``parts_waiting``, ``rows_waiting``     what waits for a prediction, ``parts_failed`` what was given up
======================================  =====================================================================

Those of the box, a minute each, are in :mod:`appliance.vitals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, text

from appliance.errors import NotFound
from appliance.store import journal
from appliance.store import tables as t

NOT_ADDING_UP = "accounting"
_OF_PASS = ("duplicates", "left", "broken")
_BACKLOG = ("parts_waiting", "rows_waiting", "parts_failed")

Figure = tuple[str, dict[str, str], float]

_FILES = (
    "WITH mine AS (SELECT f.* FROM unnest(CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[])) AS s (first, last)"
    " JOIN file f ON f.id BETWEEN s.first AND s.last)"
)


def record(conn: Connection, run_id: int) -> list[str]:
    """Keep the figures of a finished pass, in place of those that were kept of it before.

    What does not add up is given, a sentence each, and is an event that people are told of. NotFound where there is no
    such pass.
    """
    from appliance.store import queries  # takes NumPy along, of which most who import this have no need

    query = text("SELECT started_at, finished_at, counts FROM run WHERE id = :id AND kind = 'ingest'")
    run = conn.execute(query, {"id": run_id}).first()
    if run is None or run.finished_at is None:
        raise NotFound(f"There is no finished pass {run_id} over the drop folders.")
    seconds = (run.finished_at - run.started_at).total_seconds()
    figures = [
        *_by_profile(conn, run.counts),
        *_refused(conn, run.counts),
        *((f"ingest_{name}", {}, float(run.counts.get(name, 0))) for name in _OF_PASS),
        ("ingest_seconds", {}, max(0.0, seconds)),
        *((name, {}, value) for name, value in queries.backlog(conn).items() if name in _BACKLOG),
    ]
    _replace(conn, run.finished_at, figures)
    wrong = list(_disagreements(conn, run.counts))
    if wrong:
        said = f"The accounts of pass {run_id} do not add up: {' '.join(wrong)}"
        journal.event_once(conn, NOT_ADDING_UP, "error", said, {"run": run_id})
    return wrong


def keep(conn: Connection, now: Mapping[str, float]) -> None:
    """Keep figures of this moment, by name."""
    when = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
    conn.execute(insert(t.metric), [{"at": when, "name": name, "value": value} for name, value in now.items()])


def _by_profile(conn: Connection, counts: Mapping[str, Any]) -> Iterator[Figure]:
    query = text(
        f"{_FILES} SELECT p.name, sum(m.rows_in) AS rows_in, sum(m.rows_good) AS rows_good, sum(m.rows_bad) AS rows_bad,"
        " count(*) FILTER (WHERE m.state = 'quarantined') AS quarantined,"
        " count(*) FILTER (WHERE m.state <> 'quarantined' AND m.criticality = 'high') AS high,"
        " count(*) FILTER (WHERE m.state <> 'quarantined' AND m.criticality = 'medium') AS medium,"
        " count(*) FILTER (WHERE m.state <> 'quarantined' AND m.criticality = 'low') AS low,"
        " max(extract(epoch FROM m.ingested_at - m.arrived_at)) AS delay"
        " FROM mine m JOIN profile p ON p.id = m.profile_id GROUP BY p.name ORDER BY p.name"
    )
    for row in conn.execute(query, _bounds(counts)).mappings():
        profile = {"profile": row["name"]}
        for name in ("rows_in", "rows_good", "rows_bad", "quarantined"):
            yield f"ingest_{name}", profile, float(row[name])
        for criticality in ("high", "medium", "low"):
            yield "ingest_files", {**profile, "criticality": criticality}, float(row[criticality])
        yield "ingest_delay_seconds", profile, max(0.0, float(row["delay"]))


def _refused(conn: Connection, counts: Mapping[str, Any]) -> Iterator[Figure]:
    query = text(
        f"{_FILES} SELECT p.name, m.reason, count(*) AS files FROM mine m JOIN profile p ON p.id = m.profile_id"
        " WHERE m.state = 'quarantined' GROUP BY p.name, m.reason ORDER BY p.name, m.reason"
    )
    for row in conn.execute(query, _bounds(counts)).mappings():
        yield "ingest_refused", {"profile": row["name"], "reason": row["reason"]}, float(row["files"])


def _replace(conn: Connection, at: datetime, figures: Sequence[Figure]) -> None:
    m = t.metric.c
    names = {name for name, _, _ in figures}
    conn.execute(delete(t.metric).where(m.name.in_(sorted(names)), m.at == at))
    conn.execute(
        insert(t.metric),
        [{"at": at, "name": name, "labels": labels, "value": value} for name, labels, value in figures],
    )


def _disagreements(conn: Connection, counts: Mapping[str, Any]) -> Iterator[str]:
    """What the pass counted against what stands in the ledger, and each file's rows against its parts."""
    bounds = _bounds(counts)
    query = text(
        f"{_FILES} SELECT count(*) FILTER (WHERE state <> 'quarantined') AS files,"
        " count(*) FILTER (WHERE state = 'quarantined') AS quarantined, coalesce(sum(rows_in), 0) AS rows_in,"
        " coalesce(sum(rows_good), 0) AS rows_good, coalesce(sum(rows_bad), 0) AS rows_bad FROM mine"
    )
    for name, known in conn.execute(query, bounds).mappings().one().items():
        if (counted := counts.get(name, 0)) != known:
            yield f"the pass counted {counted} {_words(name)}, the ledger has {known}."
    query = text(
        f"{_FILES} SELECT m.name, m.rows_in, m.rows_good, m.rows_bad, coalesce(sum(part.rows), 0) AS in_parts"
        " FROM mine m LEFT JOIN part ON part.file_id = m.id"
        " GROUP BY m.id, m.name, m.rows_in, m.rows_good, m.rows_bad"
        " HAVING m.rows_in <> m.rows_good + m.rows_bad OR m.rows_good <> coalesce(sum(part.rows), 0) ORDER BY m.id"
    )
    for row in conn.execute(query, bounds):
        yield (
            f"{row.name} has {row.rows_in} rows, {row.rows_good} of them good and {row.rows_bad} bad,"
            f" and parts of {row.in_parts} rows."
        )


def _bounds(counts: Mapping[str, Any]) -> dict[str, list[int]]:
    stretches = counts.get("file_ids", [])
    return {"firsts": [first for first, _ in stretches], "lasts": [last for _, last in stretches]}


def _words(name: str) -> str:
    return {"files": "files", "quarantined": "quarantined files"}.get(name, name.replace("_", " "))
