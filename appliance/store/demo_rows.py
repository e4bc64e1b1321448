# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""Simulated rows: counted, and deleted in steps each of which leaves the books in order.

A file is simulated where its origin bears the mark of such (:data:`appliance.names.DEMO`), a machine where its name
does. A file stays or goes as a whole, or its account would not balance: rows of a marked machine in a file without the
mark stay, and their machine with them.

``prediction_hour`` is left alone: a pair without predictions does no harm, and whoever is about to commit predictions
may rely on one that looks empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, text

from appliance.names import DEMO
from appliance.store.rows import Arrival

# Longer than the API takes for a part, which it holds meanwhile.
_PATIENCE = "SET LOCAL lock_timeout = '60s'"
_MINE = "starts_with({0}.origin, :mark) AND {0}.profile_id = coalesce(:profile, {0}.profile_id)"
_MY_FILE, _MY_ARRIVAL = _MINE.format("f"), _MINE.format("a")
_MY_MACHINE = "starts_with(m.name, :mark) AND m.profile_id = coalesce(:profile, m.profile_id)"
# A marked machine that has to stay.
_SHARED = (
    "EXISTS (SELECT FROM prediction p JOIN file f ON f.id = p.file_id"
    " WHERE p.machine_id = m.id AND NOT starts_with(f.origin, :mark))"
)
PARTS_AT_A_TIME = 2_000
_ARRIVAL = [column.name for column in fields(Arrival)]


@dataclass(frozen=True, slots=True)
class Leaving:
    """An arrival that goes, and the files that its rows and reports lie in, relative to the data folder."""

    arrival: Arrival
    profile: str
    file_id: int | None
    paths: Sequence[str]


def profile_ids(conn: Connection) -> dict[str, int]:
    """The profiles that ever had rows here, by name."""
    return {row.name: row.id for row in conn.execute(text("SELECT name, id FROM profile ORDER BY name"))}


def count(conn: Connection, profile: int | None) -> dict[str, int]:
    """What there is (of one profile): arrivals, files, rows, predictions, machines, kept, alarms, outcomes.

    Reads all predictions of marked machines: seconds for millions.
    """
    conn.execute(text("SET LOCAL statement_timeout = 0"))
    query = f"""
        WITH files AS (
            SELECT count(*) AS files, coalesce(sum(rows_in), 0) AS rows FROM file f WHERE {_MY_FILE}),
        arrivals AS (SELECT count(*) AS arrivals FROM arrival a WHERE {_MY_ARRIVAL}),
        parts AS (
            SELECT coalesce(sum(part.rows), 0) AS predicted FROM part JOIN file f ON f.id = part.file_id
            WHERE {_MY_FILE} AND part.state = 'predicted'),
        machines AS (SELECT m.id, {_SHARED} AS shared FROM machine m WHERE {_MY_MACHINE}),
        answers AS (
            SELECT count(*) AS answers FROM prediction
            WHERE machine_id IN (SELECT id FROM machines) AND file_id IS NULL)
        SELECT arrivals, files, rows, predicted + answers AS predictions,
            (SELECT count(*) FROM machines WHERE NOT shared) AS machines,
            (SELECT count(*) FROM machines WHERE shared) AS kept,
            (SELECT count(*) FROM alarm WHERE machine_id IN (SELECT id FROM machines)) AS alarms,
            (SELECT count(*) FROM outcome WHERE machine_id IN (SELECT id FROM machines)) AS outcomes
        FROM files, arrivals, parts, answers
        """
    found = conn.execute(text(query), _of(profile)).one()
    conn.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
    return {name: int(value) for name, value in found._mapping.items()}


def delete_parts(conn: Connection, profile: int | None, rows: int) -> tuple[int, int]:
    """Delete some parts of simulated files with their predictions, about ``rows`` rows or one part.

    Their files have so many rows less from then on. Gives the rows of the parts and the predictions; (0, 0): no part
    is left. Conflict where one is being predicted for long.
    """
    found = conn.execute(
        text(
            f"SELECT part.id, part.rows FROM part JOIN file f ON f.id = part.file_id WHERE {_MY_FILE}"
            # From the last part of a file to its first, so that what is left of it has no gap.
            " ORDER BY part.file_id, part.number DESC LIMIT :limit"
        ),
        _of(profile) | {"limit": PARTS_AT_A_TIME},
    ).all()
    fitting = sum(together <= rows for together in accumulate(part.rows for part in found))
    ids = [part.id for part in found[: max(fitting, 1)]]
    if not ids:
        return 0, 0
    conn.execute(text(_PATIENCE))
    conn.execute(text("SELECT FROM part WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"), {"ids": ids})
    _by_index(conn)
    predictions = conn.execute(
        text(
            "DELETE FROM prediction USING part WHERE part.id = ANY(:ids)"
            " AND prediction.id BETWEEN part.first_id AND part.last_id AND prediction.file_id = part.file_id"
        ),
        {"ids": ids},
    ).rowcount
    gone = conn.execute(text("DELETE FROM part WHERE id = ANY(:ids) RETURNING file_id, rows"), {"ids": ids}).all()
    conn.execute(
        text(
            "UPDATE file f SET rows_in = f.rows_in - gone.rows, rows_good = f.rows_good - gone.rows,"
            " state = CASE WHEN f.state IN ('ingested', 'failed') AND done THEN 'predicted' ELSE f.state END,"
            " predicted_at = CASE WHEN done THEN coalesce(f.predicted_at, clock_timestamp()) ELSE f.predicted_at END"
            " FROM (SELECT lost.id, sum(lost.rows) AS rows, NOT EXISTS (SELECT FROM part WHERE part.file_id = lost.id"
            " AND part.state <> 'predicted') AS done FROM unnest(CAST(:files AS bigint[]), CAST(:rows AS bigint[]))"
            " AS lost (id, rows) GROUP BY lost.id) AS gone WHERE f.id = gone.id"
        ),
        {"files": [part.file_id for part in gone], "rows": [part.rows for part in gone]},
    )
    return sum(part.rows for part in gone), predictions


def delete_events(conn: Connection, profile: int | None) -> int:
    """Delete what was noted of simulated files, and the messages about it; before the files go."""
    gone: int = conn.execute(
        text(
            f"WITH files AS (SELECT f.id::text AS id FROM file f WHERE {_MY_FILE}),"
            f" arrivals AS (SELECT a.id::text AS id, a.file_id::text AS file_id FROM arrival a WHERE {_MY_ARRIVAL}),"
            " gone AS (DELETE FROM event WHERE details ->> 'file_id' IN (SELECT id FROM files)"
            " OR coalesce(details ->> 'arrival', details ->> 'arrival_id') IN (SELECT id FROM arrivals) RETURNING id),"
            " told AS (DELETE FROM notice WHERE kind = 'event' AND ref_id IN (SELECT id FROM gone))"
            " SELECT count(*) FROM gone"
        ),
        _of(profile),
    ).scalar_one()
    return gone


def leaving(conn: Connection, profile: int | None, *, files: bool, after: int, limit: int) -> list[Leaving]:
    """Arrivals with an id above ``after``: those that became ``files``, or those that did not, which have to go first.

    A file that still has parts is left out.
    """
    found = conn.execute(
        text(
            f"SELECT {', '.join(f'a.{name}' for name in _ARRIVAL)}, profile.name AS profile, f.id AS row_id,"
            " array_remove(ARRAY[f.good_path, f.bad_path, f.report_path, f.quarantine_path], NULL) AS paths"
            " FROM arrival a JOIN profile ON profile.id = a.profile_id LEFT JOIN file f ON f.arrival_id = a.id"
            f" WHERE {_MY_ARRIVAL} AND a.id > :after AND (f.id IS NOT NULL) = :files"
            " AND NOT EXISTS (SELECT FROM part WHERE part.file_id = f.id) ORDER BY a.id LIMIT :limit"
        ),
        _of(profile) | {"after": after, "files": files, "limit": limit},
    )
    result = []
    for row in found.mappings():
        values = {name: row[name] for name in _ARRIVAL} | {name: int(row[name]) for name in ("device", "inode")}
        result.append(Leaving(Arrival(**values), row["profile"], row["row_id"], row["paths"]))
    return result


def delete_arrivals(conn: Connection, gone: Sequence[Leaving]) -> int:
    """Delete arrivals with their files, whose contents are gone from the disk; gives the rows that were left in them."""
    arrivals = {"ids": [one.arrival.id for one in gone]}
    files = {"ids": [one.file_id for one in gone if one.file_id is not None]}
    conn.execute(text(_PATIENCE))
    conn.execute(text("UPDATE file SET mended_from = NULL WHERE mended_from = ANY(CAST(:ids AS bigint[]))"), files)
    conn.execute(text("DELETE FROM notice WHERE kind = 'file' AND ref_id = ANY(CAST(:ids AS bigint[]))"), files)
    rows = conn.execute(
        text("DELETE FROM file WHERE id = ANY(CAST(:ids AS bigint[])) RETURNING rows_in"), files
    ).scalars()
    left = sum(int(in_file) for in_file in rows)
    conn.execute(text("DELETE FROM arrival WHERE id = ANY(CAST(:ids AS bigint[]))"), arrivals)
    return left


def machines(conn: Connection, profile: int | None) -> list[int]:
    """The ids of all marked machines."""
    return list(
        conn.execute(text(f"SELECT m.id FROM machine m WHERE {_MY_MACHINE} ORDER BY m.id"), _of(profile)).scalars()
    )


def delete_answers(conn: Connection, machine_id: int, rows: int) -> int:
    """Delete up to ``rows`` predictions of a machine that came through the API and belong to no file."""
    conn.execute(text(_PATIENCE))
    _by_index(conn)
    return conn.execute(
        text(
            "DELETE FROM prediction USING (SELECT id, predicted_at FROM prediction"
            " WHERE machine_id = :machine AND file_id IS NULL LIMIT :rows) AS gone"
            " WHERE prediction.id = gone.id AND prediction.predicted_at = gone.predicted_at"
        ),
        {"machine": machine_id, "rows": rows},
    ).rowcount


def delete_machine(conn: Connection, machine_id: int) -> dict[str, int]:
    """Delete a machine's state, alarms and outcomes, and the machine where no prediction is left of it.

    Gives the numbers of machines, alarms, outcomes and predictions. Whoever predicts for it waits, or is waited for.
    """
    one = {"machine": machine_id}
    conn.execute(text(_PATIENCE))
    conn.execute(text("SELECT FROM machine WHERE id = :machine FOR UPDATE"), one)

    def delete(what: str) -> int:
        return conn.execute(text(f"DELETE FROM {what}"), one).rowcount

    alarms = "(SELECT id FROM alarm WHERE machine_id = :machine)"
    # What came between the last step and this one.
    predictions = delete("prediction WHERE machine_id = :machine AND file_id IS NULL")
    delete(f"notice WHERE kind = 'alarm' AND ref_id IN {alarms}")
    delete("machine_state WHERE machine_id = :machine")
    outcomes = delete("outcome WHERE machine_id = :machine")
    conn.execute(text(f"UPDATE outcome SET alarm_id = NULL WHERE alarm_id IN {alarms}"), one)
    return {
        "alarms": delete("alarm WHERE machine_id = :machine"),
        "machines": delete(
            "machine WHERE id = :machine AND NOT EXISTS (SELECT FROM prediction WHERE machine_id = :machine)"
        ),
        "outcomes": outcomes,
        "predictions": predictions,
    }


def _of(profile: int | None) -> dict[str, Any]:
    return {"mark": DEMO, "profile": profile}


def _by_index(conn: Connection) -> None:
    """Have single predictions found by an index until the transaction ends, and never by a walk through all of them."""
    switches = ", ".join(f"set_config('enable_{way}', 'off', true)" for way in ("seqscan", "hashjoin", "mergejoin"))
    conn.execute(text(f"SELECT {switches}"))
