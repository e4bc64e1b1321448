"""What the book of runs says: which never ended, and whether a kind of them keeps failing.

A kind fails from the event ``run_failed`` on until the event ``run_recovered``; so a night of the same failure is told
once. A run of maintenance is one step of it, and each step fails for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from appliance.store import journal
from appliance.store.rows import RunKind

FAILED, RECOVERED = "run_failed", "run_recovered"


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest run of a kind and step; ``failures``: of those that had work, the newest so many failed in a row."""

    started_at: datetime
    finished_at: datetime | None
    failures: int
    failed_at: datetime | None  # the newest of these
    why: str


def open_runs(conn: Connection, kind: RunKind) -> list[tuple[int, str]]:
    """Runs without an end, oldest first: (id, step)."""
    query = text(
        "SELECT id, coalesce(counts ->> 'step', '') FROM run WHERE kind = :kind AND finished_at IS NULL ORDER BY id"
    )
    return [(row[0], row[1]) for row in conn.execute(query, {"kind": kind})]


def failures(conn: Connection, kind: RunKind, step: str, limit: int) -> list[dict[str, Any]]:
    """The newest runs that failed in a row, newest first, at most ``limit``: finished_at and why.

    Those that found nothing to do prove nothing, and are passed over.
    """
    query = text(
        "SELECT outcome, finished_at, why FROM run WHERE kind = :kind AND coalesce(counts ->> 'step', '') = :step"
        " AND outcome IN ('done', 'failed') ORDER BY id DESC LIMIT :limit"
    )
    found = []
    for row in conn.execute(query, {"kind": kind, "step": step, "limit": limit}).mappings():
        if row["outcome"] != "failed":
            break
        found.append({"finished_at": row["finished_at"], "why": row["why"] or ""})
    return found


def is_failing(conn: Connection, kind: RunKind, step: str) -> bool:
    """Whether it was told that this fails, and not yet that it works again."""
    query = text(
        "SELECT kind FROM event WHERE kind IN (:failed, :recovered) AND details ->> 'run' = :run"
        " AND coalesce(details ->> 'step', '') = :step ORDER BY id DESC LIMIT 1"
    )
    told = conn.execute(query, {"failed": FAILED, "recovered": RECOVERED, "run": kind, "step": step}).scalar()
    return told == FAILED


def tell_failing(conn: Connection, kind: RunKind, step: str, message: str, details: Mapping[str, Any]) -> None:
    journal.event(conn, FAILED, "error", message, {"run": kind, "step": step, **details})


def tell_recovered(conn: Connection, kind: RunKind, step: str, message: str) -> None:
    journal.event(conn, RECOVERED, "info", message, {"run": kind, "step": step})


def standing(conn: Connection, kind: RunKind, limit: int) -> Standing | None:
    """How a kind without steps stands; None where it never ran."""
    newest = conn.execute(
        text("SELECT started_at, finished_at FROM run WHERE kind = :kind ORDER BY id DESC LIMIT 1"), {"kind": kind}
    ).first()
    if newest is None:
        return None
    failed = failures(conn, kind, "", limit)
    at, why = (failed[0]["finished_at"], failed[0]["why"]) if failed else (None, "")
    return Standing(newest.started_at, newest.finished_at, len(failed), at, why)


def first(conn: Connection) -> datetime | None:
    """When the oldest run began that is still in the book."""
    found: datetime | None = conn.execute(text("SELECT started_at FROM run ORDER BY id LIMIT 1")).scalar()
    return found


def failed_steps(conn: Connection, kind: RunKind, since: datetime) -> Sequence[tuple[str, str]]:
    """(step, why) of the steps whose newest run failed since then."""
    query = text(
        "SELECT step, why FROM (SELECT DISTINCT ON (1) coalesce(counts ->> 'step', '') AS step, outcome, why,"
        " finished_at FROM run WHERE kind = :kind AND finished_at IS NOT NULL ORDER BY 1, id DESC) AS newest"
        " WHERE outcome = 'failed' AND finished_at >= :since ORDER BY 1"
    )
    return [(row.step, row.why or "") for row in conn.execute(query, {"kind": kind, "since": since})]
