"""The journey of files: what came, and what became of it.

Its second half, the parts, is in :mod:`appliance.store.parts`, runs and events are in :mod:`appliance.store.journal`;
all of it can be had from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from appliance.errors import Conflict
from appliance.store import notices
from appliance.store import tables as t
from appliance.store.engine import storable
from appliance.store.journal import event, run_finished, run_skipped, run_started
from appliance.store.parts import (
    failed_parts,
    lock_part,
    part_failed,
    part_predicted,
    retry_failed,
    waiting_parts,
)
from appliance.store.rows import Arrival, FileRecord, IssueLike

__all__ = [
    "abandoned",
    "claim",
    "cleared",
    "event",
    "failed_parts",
    "finish_duplicate",
    "ingested",
    "known_file",
    "lock_part",
    "not_tried",
    "part_failed",
    "part_predicted",
    "quarantine",
    "retry_failed",
    "run_finished",
    "run_skipped",
    "run_started",
    "tried",
    "uncleared",
    "waiting_parts",
]

_ARRIVAL = [
    t.arrival.c[name]
    for name in (
        *("id", "file_id", "profile_id", "origin", "name", "path", "size", "mtime_ns", "device", "inode"),
        *("sha256", "contract_hash", "arrived_at", "day", "state", "duplicate_of"),
    )
]


def claim(
    conn: Connection,
    profile_id: int,
    origin: str,
    name: str,
    path: str,
    size: int,
    mtime_ns: int,
    device: int,
    inode: int,
    sha256: str,
    contract_hash: str,
) -> Arrival:
    """Fix the arrival's id, file id, time and day, before work on it starts (so commit before it does).

    The same file that was claimed before and not cleared is the same arrival: a pass that was killed goes on with it. The
    device does not tell, for a disk may have another number after the box was switched on again.
    """
    key = "\0".join([storable(path), *map(str, (inode, mtime_ns, size, sha256))])
    claim_hash = hashlib.sha256(key.encode()).hexdigest()
    # Looked for first, so that a pass that finds the same file again and again uses up no numbers.
    a = t.arrival.c
    mine = select(*_ARRIVAL).where(a.claim == claim_hash, a.cleared_at.is_(None))
    if conn.execute(mine).first() is None:
        now = conn.execute(select(func.clock_timestamp())).scalar_one()
        statement = upsert(t.arrival).values(
            profile_id=profile_id,
            origin=origin,
            name=name,
            path=path,
            size=size,
            mtime_ns=mtime_ns,
            device=device,
            inode=inode,
            sha256=sha256,
            contract_hash=contract_hash,
            claim=claim_hash,
            arrived_at=now,
            day=now.date(),
        )
        conn.execute(statement.on_conflict_do_nothing(index_elements=["claim"], index_where=text("cleared_at IS NULL")))
    # The profile may have been mended between a kill and now: rows are judged by what holds now.
    conn.execute(
        update(t.arrival)
        .where(a.claim == claim_hash, a.state == "claimed", a.contract_hash != contract_hash)
        .values(contract_hash=contract_hash)
    )
    return _arrival(conn.execute(mine).one())


def known_file(
    conn: Connection, profile_id: int, origin: str, sha256: str, contract_hash: str
) -> dict[str, Any] | None:
    """The file that holds the same content under the same profile, contract and origin; None where it is new.

    Quarantined ones do not count: what was refused may be dropped again, and is judged again.
    """
    f = t.file.c
    found = conn.execute(
        select(t.file).where(
            f.profile_id == profile_id,
            f.origin == origin,
            f.sha256 == sha256,
            f.contract_hash == contract_hash,
            f.state != "quarantined",
        )
    ).first()
    return None if found is None else dict(found._mapping)


def finish_duplicate(conn: Connection, arrival: Arrival, file_id: int) -> None:
    """The arrival brought nothing new: its content is file ``file_id``."""
    _settle(conn, arrival, "duplicate", duplicate_of=file_id)


def abandoned(conn: Connection, arrival: Arrival, why: str) -> None:
    """The original went away or changed before it was read; nothing of it was taken, and it is cleared."""
    _settle(conn, arrival, "abandoned", note=why, cleared_at=func.clock_timestamp())


def tried(conn: Connection, arrival: Arrival) -> int:
    """Count a try at a claimed file, before the work on it begins; how many there were, with this one."""
    a = t.arrival.c
    statement = update(t.arrival).where(a.id == arrival.id, a.state == "claimed").values(tries=a.tries + 1)
    return int(conn.execute(statement.returning(a.tries)).scalar_one())


def not_tried(conn: Connection, arrival: Arrival) -> None:
    """Take a try back that ended for no reason of the file's own."""
    a = t.arrival.c
    conn.execute(
        update(t.arrival).where(a.id == arrival.id, a.state == "claimed", a.tries > 0).values(tries=a.tries - 1)
    )


def quarantine(
    conn: Connection, arrival: Arrival, reason: str, sentence: str, path: str | None, report: str | None = None
) -> None:
    """The file is refused as a whole and lies at ``path``; it shows among the files, with its reason."""
    _settle(conn, arrival, "quarantined", note=reason)
    values = _file_values(arrival) | {
        "state": "quarantined",
        "criticality": "high",
        "reason": reason,
        "sentence": sentence,
        "quarantine_path": path,
        "report_path": report,
    }
    _replace_file(conn, arrival, values)
    notices.add(conn, "file", arrival.file_id)


def ingested(
    conn: Connection,
    arrival: Arrival,
    record: FileRecord,
    issues: Iterable[IssueLike],
    part_sizes: Sequence[int],
) -> None:
    """The file with its issues and parts; done again, it replaces what was there.

    ``part_sizes`` are the rows of each part, in order, together all good rows (else ValueError). Conflict where the
    content is another file's already, or where parts of this one were predicted.
    """
    if sum(part_sizes) != record.rows_good or any(size < 1 for size in part_sizes):
        raise ValueError(f"parts of {list(part_sizes)} rows do not make {record.rows_good} good rows")
    _settle(conn, arrival, "ingested")
    values = _file_values(arrival) | {
        # Nothing to predict is predicted.
        "state": "ingested" if part_sizes else "predicted",
        "predicted_at": None if part_sizes else func.clock_timestamp(),
        "rows_in": record.rows_in,
        "rows_good": record.rows_good,
        "rows_bad": record.rows_bad,
        "criticality": record.criticality,
        "good_path": record.good_path,
        "bad_path": record.bad_path,
        "report_path": record.report_path,
        "header": list(record.header),
        "encoding": record.encoding,
        "mended_from": _known(conn, record.mended_from),
    }
    _replace_file(conn, arrival, values)
    if record.criticality != "low":
        # Whether people want to know of a medium one is looked up when they are told.
        notices.add(conn, "file", arrival.file_id)
    if broken := [
        {
            "file_id": arrival.file_id,
            "rule": issue.rule,
            "column_name": issue.column,
            "count": issue.count,
            "examples": list(issue.examples),
        }
        for issue in issues
    ]:
        conn.execute(insert(t.quality_issue), broken)
    start = 0
    parts = []
    for number, size in enumerate(part_sizes, start=1):
        parts.append({"file_id": arrival.file_id, "number": number, "start": start, "rows": size})
        start += size
    if parts:
        conn.execute(insert(t.part), parts)


def uncleared(conn: Connection, profile_id: int | None = None) -> list[Arrival]:
    """Arrivals whose original was not unlinked yet, oldest first; those still ``claimed`` were broken off."""
    query = select(*_ARRIVAL).where(t.arrival.c.cleared_at.is_(None)).order_by(t.arrival.c.id)
    if profile_id is not None:
        query = query.where(t.arrival.c.profile_id == profile_id)
    return [_arrival(row) for row in conn.execute(query)]


def cleared(conn: Connection, arrival_id: int) -> None:
    """The original is gone from the drop folder."""
    a = t.arrival.c
    conn.execute(
        update(t.arrival)
        .where(a.id == arrival_id, a.state != "claimed", a.cleared_at.is_(None))
        .values(cleared_at=func.clock_timestamp())
    )


def _arrival(row: Row[*tuple[Any, ...]]) -> Arrival:
    values = dict(row._mapping)
    return Arrival(**values | {"device": int(values["device"]), "inode": int(values["inode"])})


def _settle(conn: Connection, arrival: Arrival, state: str, **more: Any) -> None:
    """Say what became of an arrival; once it is said, it can only be said again."""
    a = t.arrival.c
    done = conn.execute(
        update(t.arrival).where(a.id == arrival.id, a.state.in_(["claimed", state])).values(state=state, **more)
    )
    if done.rowcount != 1:
        raise Conflict(f"Arrival {arrival.id} ({arrival.name}) was finished in another way already.")


def _file_values(arrival: Arrival) -> dict[str, Any]:
    return {
        "id": arrival.file_id,
        "arrival_id": arrival.id,
        "profile_id": arrival.profile_id,
        "origin": arrival.origin,
        "name": arrival.name,
        "sha256": arrival.sha256,
        "contract_hash": arrival.contract_hash,
        "arrived_at": arrival.arrived_at,
        "day": arrival.day,
    }


def _known(conn: Connection, file_id: int | None) -> int | None:
    """The id where there is such a file: a file of bad rows may come back to another box, or after its own was removed."""
    f = t.file.c
    return None if file_id is None else conn.execute(select(f.id).where(f.id == file_id)).scalar()


def _replace_file(conn: Connection, arrival: Arrival, values: dict[str, Any]) -> None:
    p = t.part.c
    begun = conn.execute(
        select(func.count()).select_from(t.part).where(p.file_id == arrival.file_id, p.state != "waiting")
    ).scalar_one()
    if begun:
        raise Conflict(f"File {arrival.file_id} ({arrival.name}) is being predicted already.")
    conn.execute(delete(t.part).where(p.file_id == arrival.file_id))
    conn.execute(delete(t.quality_issue).where(t.quality_issue.c.file_id == arrival.file_id))
    try:
        with conn.begin_nested():
            # Replaced, not deleted: a duplicate may point to it by now.
            statement = upsert(t.file).values(**values)
            conn.execute(statement.on_conflict_do_update(constraint="pk_file", set_=values))
    except IntegrityError as error:
        if "ix_file_content" not in str(error.orig):
            raise
        raise Conflict(f"The content of {arrival.name} is another file's already.") from error
