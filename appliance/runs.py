"""A run in the book: written down when it begins, and ended as done, skipped or failed, whatever ends it.

Silence can so be told from death: a run without an end was killed, and the next one of its kind says so. A failure is
told to people when a kind begins to fail, not every minute of a night; and once more when it works again.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import trouble
from appliance.errors import ApiAway, BucketTrouble, Conflict, NotReady, StoreAway
from appliance.store import engine as store
from appliance.store import journal
from appliance.store import runs as book
from appliance.store.engine import Connection, Engine
from appliance.store.rows import RunKind, RunOutcome

log = logging.getLogger(__name__)

# What may be over in a moment (a service that starts again, a kill) is told when so many runs in a row ended in it.
PATIENCE = 3
KILLED = "It was killed, or lost the database, before its end."
_PASSING = (ApiAway, BucketTrouble, StoreAway, NotReady, Conflict)
_TITLES: Mapping[RunKind, str] = {
    "ingest": "Taking files in",
    "predict": "Predicting",
    "maintain": "Maintenance",
    "sync": "Copying to S3",
    "audit": "Comparing with S3",
    "backup": "The backup",
    "drill": "The restore drill",
}


@dataclass(slots=True)
class Run:
    """A run that is under way; it ends as ``done``, unless it is said otherwise."""

    id: int
    kind: RunKind
    step: str = ""
    outcome: RunOutcome = "done"
    why: str = ""

    def skip(self, why: str) -> None:
        """There is nothing to do."""
        self.outcome, self.why = "skipped", why

    def fail(self, why: str) -> None:
        """It came to its end, and not all went well; who is to be told of that, is."""
        self.outcome, self.why = "failed", why


@contextmanager
def recorded(
    engine: Engine,
    kind: RunKind,
    counts: Callable[[], Mapping[str, Any]],
    *,
    step: str = "",
    signs: Path | None = None,
) -> Iterator[Run]:
    """Record what happens in the block as a run; ``counts`` are asked for when it ends.

    ``signs``: a folder in which runs of this kind show that they are alive. None: the caller holds a lock that no other
    of this kind can have.
    """
    with trouble.told(), _alive(engine, kind, signs):
        run = begin(engine, kind, step)
        try:
            with trouble.told():
                yield run
        except BaseException as error:
            run.fail(reason(error))
            try:
                end(engine, run, counts(), error)
            except Exception as second:
                # What broke it off is the one to tell; the next run closes this one in the book.
                log.warning("the end of run %d could not be recorded: %s", run.id, second)
            raise
        end(engine, run, counts())


def begin(engine: Engine, kind: RunKind, step: str = "") -> Run:
    with store.transaction(engine) as connection:
        return Run(journal.run_started(connection, kind, {"step": step} if step else {}), kind, step)


def end(engine: Engine, run: Run, counts: Mapping[str, Any], error: BaseException | None = None) -> None:
    """Close a run in the book, and tell people where that is news. ``error``: what broke it off."""
    kept = {} if run.outcome == "skipped" else {**counts}
    if run.step:
        kept["step"] = run.step
    with store.transaction(engine) as connection:
        journal.run_finished(connection, run.id, run.outcome, kept, run.why)
        if error is not None:
            passing = isinstance(error, _PASSING) or not isinstance(error, Exception)
            _tell_failing(connection, run, at_once=not passing)
        elif run.outcome == "done" and book.is_failing(connection, run.kind, run.step):
            book.tell_recovered(connection, run.kind, run.step, f"{_title(run)} works again.")


def skipped(engine: Engine, kind: RunKind, why: str) -> None:
    """Record a run that did not come to anything."""
    with store.transaction(engine) as connection:
        journal.run_skipped(connection, kind, why)


def reason(error: BaseException) -> str:
    """One line about what broke something off."""
    said = " ".join(str(error).split())
    if not isinstance(error, Exception) and not said:
        return f"It was stopped ({type(error).__name__})."
    known = type(error).__module__.startswith("appliance.")
    return (said if known and said else f"{type(error).__name__}: {said}".rstrip(": "))[:1000]


def _tell_failing(connection: Connection, run: Run, *, at_once: bool) -> None:
    if book.is_failing(connection, run.kind, run.step):
        return
    if not at_once and len(book.failures(connection, run.kind, run.step, PATIENCE)) < PATIENCE:
        return
    message = f"{_title(run)} fails: {run.why}"
    book.tell_failing(connection, run.kind, run.step, message, {"id": run.id, "why": run.why})


def _title(run: Run) -> str:
    return f"{_TITLES[run.kind]} ({run.step})" if run.step else _TITLES[run.kind]


@contextmanager
def _alive(engine: Engine, kind: RunKind, signs: Path | None) -> Iterator[None]:
    """Close what dead runs left open, and be known as alive for as long as the block lasts."""
    if signs is None:
        _close_killed(engine, kind)
        yield
        return
    signs.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(signs / f".{kind}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another one is alive, and which of the open runs is its own, nobody can tell
        else:
            _close_killed(engine, kind)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _close_killed(engine: Engine, kind: RunKind) -> None:
    with store.transaction(engine) as connection:
        for run_id, step in book.open_runs(connection, kind):
            run = Run(run_id, kind, step, "failed", KILLED)
            journal.run_finished(connection, run_id, "failed", {"step": step} if step else {}, KILLED)
            _tell_failing(connection, run, at_once=False)
