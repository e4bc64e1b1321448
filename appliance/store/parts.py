"""Parts of files: what waits for predictions, who works on it, and how often that failed."""

from __future__ import annotations

from typing import Any, Literal

import psycopg2.errors
from sqlalchemy import Connection, Row, and_, case, exists, func, select, text, update
from sqlalchemy.exc import OperationalError

from appliance.errors import Conflict, NotFound
from appliance.store import pauses
from appliance.store import tables as t
from appliance.store.journal import event
from appliance.store.rows import Part

_PART = (
    select(
        *(t.part.c[name] for name in ("id", "file_id", "number", "start", "rows", "state", "tries", "next_try_at")),
        t.part.c.error,
        *(t.file.c[name] for name in ("profile_id", "origin", "name", "good_path", "contract_hash", "arrived_at")),
        t.profile.c.name.label("profile"),
    )
    .join(t.file, t.file.c.id == t.part.c.file_id)
    .join(t.profile, t.profile.c.id == t.file.c.profile_id)
)


def waiting_parts(conn: Connection, limit: int) -> list[Part]:
    """Parts whose turn has come, oldest first."""
    return [_part(row) for row in conn.execute(_PART.where(text(pauses.PART_DUE)).order_by(t.part.c.id).limit(limit))]


def failed_parts(conn: Connection, limit: int) -> list[Part]:
    """Parts that were given up, oldest first; :func:`retry_failed` lets them wait again."""
    p = t.part.c
    return [_part(row) for row in conn.execute(_PART.where(p.state == "failed").order_by(p.id).limit(limit))]


def lock_part(conn: Connection, part_id: int) -> Part:
    """The part, ours until the transaction ends. Look at its state: it may be predicted already.

    Conflict when somebody else works on it (at once, without waiting), NotFound when there is none.
    """
    try:
        with conn.begin_nested():
            query = _PART.where(t.part.c.id == part_id).with_for_update(nowait=True, of=t.part)
            found = conn.execute(query).first()
    except OperationalError as error:
        if not isinstance(error.orig, psycopg2.errors.LockNotAvailable):
            raise
        raise Conflict(f"Part {part_id} is being predicted right now.", "Ask again later.") from None
    if found is None:
        raise NotFound(f"There is no part {part_id}.")
    return _part(found)


def following(conn: Connection, part: Part) -> Part | None:
    """The next part of the same file, where it waits."""
    p = t.part.c
    query = _PART.where(p.file_id == part.file_id, p.number == part.number + 1, p.state == "waiting")
    return next((_part(row) for row in conn.execute(query)), None)


def part_predicted(
    conn: Connection, part_id: int, rows: int, failing: int, model_id: int, first_id: int, last_id: int
) -> None:
    """Mark a part that was locked by us, in the transaction that wrote its predictions (ids first_id to last_id).

    The last part of a file makes the file predicted. Conflict where the part was predicted before, or where it does
    not have ``rows`` rows: the transaction must not be committed then.
    """
    p = t.part.c
    done = conn.execute(
        update(t.part)
        .where(p.id == part_id, p.rows == rows, p.state != "predicted")
        .values(
            state="predicted",
            error=None,
            model_id=model_id,
            failing=failing,
            first_id=first_id,
            last_id=last_id,
            predicted_at=func.clock_timestamp(),
        )
        .returning(p.file_id)
    ).first()
    if done is None:
        raise Conflict(f"Part {part_id} was predicted before, or does not have {rows} rows.")
    _settle_file(conn, done.file_id)


def part_failed(conn: Connection, part_id: int, error: str, tries_allowed: int) -> Literal["waiting", "failed"]:
    """Count a failed try, in a transaction of its own. The part waits longer each time, and is given up in the end."""
    p = t.part.c
    tries = p.tries + 1
    pause = func.least(pauses.FIRST_SECONDS * func.power(2, func.least(p.tries, 20)), pauses.LONGEST_SECONDS)
    found = conn.execute(
        update(t.part)
        .where(p.id == part_id, p.state == "waiting")
        .values(
            tries=tries,
            error=error,
            state=case((tries >= tries_allowed, "failed"), else_="waiting"),
            next_try_at=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, pause),
        )
        .returning(p.file_id, p.number, p.tries, p.state)
    ).first()
    if found is None:
        raise Conflict(f"Part {part_id} does not wait for a prediction.")
    if found.state != "failed":
        return "waiting"
    name, profile_id = conn.execute(
        select(t.file.c.name, t.file.c.profile_id).where(t.file.c.id == found.file_id)
    ).one()
    message = f"Part {found.number} of {name} was given up after {found.tries} tries: {error}"
    details = {"part_id": part_id, "file_id": found.file_id}
    event(conn, "part_failed", "error", message, details, profile_id)
    _settle_file(conn, found.file_id)
    return "failed"


def retry_failed(conn: Connection, file_id: int | None = None) -> int:
    """Let parts that were given up (of one file, or all) wait for another try; gives their number."""
    p, f = t.part.c, t.file.c
    mine = [] if file_id is None else [p.file_id == file_id]
    back = conn.execute(
        update(t.part)
        .where(p.state == "failed", *mine)
        .values(state="waiting", tries=0, next_try_at=func.clock_timestamp())
        .returning(p.file_id)
    ).scalars()
    files = list(back)
    conn.execute(update(t.file).where(f.id.in_(set(files)), f.state == "failed").values(state="ingested"))
    return len(files)


def _settle_file(conn: Connection, file_id: int) -> None:
    """A file is predicted when all its parts are, failed when one is given up and none waits."""
    p, f = t.part.c, t.file.c
    # Two last parts that end at the same time must not each take the other for unfinished.
    conn.execute(select(f.id).where(f.id == file_id).with_for_update(key_share=True))
    mine = p.file_id == file_id
    waiting = exists().where(and_(mine, p.state == "waiting"))
    failed = exists().where(and_(mine, p.state == "failed"))
    conn.execute(
        update(t.file)
        .where(f.id == file_id, ~waiting, f.state.in_(["ingested", "failed"]))
        .values(
            state=case((failed, "failed"), else_="predicted"),
            predicted_at=case((failed, None), else_=func.clock_timestamp()),
        )
    )


def _part(row: Row[*tuple[Any, ...]]) -> Part:
    return Part(**row._mapping)
