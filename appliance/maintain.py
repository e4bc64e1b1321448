"""What keeps a box small: each step removes what is older than its setting says, and nothing that the books need.

Every step is bounded, may be killed at any moment, and goes on where it was when it is done again. Each is a run of its
own in the book.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

from appliance import intake, pruning, room, runs
from appliance.errors import ApplianceError, Conflict
from appliance.pipeline import Box
from appliance.store import engine, retention
from appliance.store import room as room_store
from appliance.store.engine import Connection
from appliance.store.retention import REQUEST_DAYS

Counts = dict[str, Any]
Step = Callable[[Box], Counts]

# A month whose rows are in use is asked for again: readers are done within seconds.
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 10, 3.0
# What a killed pass left in work/ is removed by the next; what is older than this nobody knows.
_STALE_DAYS = 2
_PASS_WAIT_SECONDS = 60.0
_AIRFLOW_SECONDS = 1800.0
_AIRFLOW_ROWS = 10_000


def _recorded(work: Callable[[Box, Counts], None]) -> Step:
    @wraps(work)
    def step(box: Box) -> Counts:
        counts: Counts = {}
        with runs.recorded(box.engine, "maintain", lambda: counts, step=work.__name__, signs=box.settings.work):
            work(box, counts)
        return counts

    return step


@_recorded
def remove_old_predictions(box: Box, counts: Counts) -> None:
    """Make the next month's partition ahead, and remove whole months that are older than ``prediction_days``."""
    with engine.transaction(box.engine) as connection:
        retention.make_ahead(connection)
        last = _lived(connection, "remove_old_predictions", counts) - timedelta(days=box.settings.prediction_days)
        old = retention.old_months(connection, last)
    counts["months"] = []
    for month in old:
        if box.settings.s3_bucket is not None and not _is_copied(box, month):
            counts["not_copied_yet"] = f"{month.start:%Y-%m}"
            break
        _drop(box, month)
        counts["months"].append(f"{month.start:%Y-%m}")


@_recorded
def forget_old_records(box: Box, counts: Counts) -> None:
    """Forget runs and figures after ``run_days``, events, messages, drift and arrivals without rows after ``record_days``,
    and answers to repeated requests after a week."""
    from appliance.store import principals

    settings = box.settings
    with engine.transaction(box.engine) as connection:
        now = _lived(connection, "forget_old_records", counts)
        counts["requests"] = principals.forget_requests(connection, now - timedelta(days=REQUEST_DAYS))
    for what in retention.kinds():
        days = settings.run_days if what in ("runs", "metrics") else settings.record_days
        before = now - timedelta(days=days)
        with engine.transaction(box.engine) as connection:
            young = retention.young(connection, what, before)
        counts[what] = 0
        gone = retention.PIECE
        while gone == retention.PIECE:
            with engine.transaction(box.engine) as connection:
                gone = retention.forget(connection, what, before, young)
            counts[what] += gone


@_recorded
def remove_old_files(box: Box, counts: Counts) -> None:
    """Remove originals from ``archive/`` after ``archive_days``, empty folders of past days, and litter of work/; where the
    disk is short after that, also what the bucket has."""
    settings, removed = box.settings, pruning.Removed()
    with engine.transaction(box.engine) as connection:
        today = _lived(connection, "remove_old_files", counts).date()
        first = today - timedelta(days=settings.archive_days)
        is_old = retention.old_arrivals(connection, first)
        only_here = set() if settings.s3_bucket is None else room_store.only_here(connection, first)
    if only_here:
        counts["not_copied_yet"] = len(only_here)

    def stays(path: Path, day: date) -> bool:
        number = room.number_of(path)
        return number in only_here or not is_old(number, day)

    try:
        pruning.before_day(settings.archive, first, removed, stays)
        with _no_pass_running(box) as alone:
            # A pass makes a folder and then puts a file into it; in between nobody may take the folder away.
            if alone:
                roots = (settings.archive, settings.good, settings.bad, settings.bad / "quarantine")
                counts["folders"] = sum(pruning.empty_days(root, today - timedelta(days=1)) for root in roots)
                pruning.entries_older_than(settings.work, time.time() - _STALE_DAYS * 86_400, removed)
            else:
                counts["left"] = "A pass was running: empty folders wait for the next time."
        if settings.s3_bucket is not None and room.look(settings).is_short:
            counts["made_room"] = asdict(room.make(settings, box.engine))
    finally:
        counts |= asdict(removed)


@_recorded
def clean_airflow(box: Box, counts: Counts) -> None:
    """Have Airflow forget its runs, task instances and logs in its database after ``run_days``."""
    from appliance.airflow import config

    with engine.transaction(box.engine) as connection:
        before = _lived(connection, "clean_airflow", counts) - timedelta(days=box.settings.run_days)
    command = [sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive", "--error-on-cleanup-failure"]
    command += ["--batch-size", str(_AIRFLOW_ROWS), "--clean-before-timestamp", before.isoformat(timespec="seconds")]
    # A task is denied Airflow's database; what it was told instead must not reach the command.
    base = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW")}
    try:
        done = subprocess.run(
            command,
            env=config.environment(box.settings, base),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_AIRFLOW_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ApplianceError(
            f"Airflow's database was not cleaned within {_AIRFLOW_SECONDS / 60:.0f} minutes.", "The next night goes on."
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise ApplianceError(f"Airflow's database could not be cleaned ({said.strip()[:500]}).", "See its log.")
    counts["before"] = before.isoformat(timespec="seconds")


@_recorded
def rotate_logs(box: Box, counts: Counts) -> None:
    """Remove logs of tasks after ``log_days``."""
    from appliance.airflow import config

    removed = pruning.Removed()
    with engine.transaction(box.engine) as connection:
        before = _lived(connection, "rotate_logs", counts) - timedelta(days=box.settings.log_days)
    try:
        pruning.older_than(config.logs(box.settings), before.timestamp(), removed)
    finally:
        counts |= asdict(removed)


# In the order in which they are done.
STEPS: tuple[Step, ...] = (remove_old_predictions, forget_old_records, remove_old_files)
AIRFLOW_STEPS: tuple[Step, ...] = (clean_airflow, rotate_logs)


def everything(box: Box) -> Iterator[tuple[str, Counts, ApplianceError | None]]:
    """Do each step, Airflow's own where it runs the schedule: (step, what it did, what broke it off). A step that fails
    keeps none of the others."""
    for step in (*STEPS, *(AIRFLOW_STEPS if box.settings.schedule == "airflow" else ())):
        try:
            yield step.__name__, step(box), None
        except ApplianceError as error:
            yield step.__name__, {}, error


def _lived(connection: Connection, step: str, counts: Counts) -> datetime:
    """The clock as far as ages may be told by it; the run remembers it for the next night."""
    now, reached = retention.lived(connection, step)
    counts["clock"] = reached.isoformat(timespec="seconds")
    return now


def _is_copied(box: Box, month: retention.Month) -> bool:
    with engine.transaction(box.engine) as connection:
        return room_store.is_copied(connection, month)


def _drop(box: Box, month: retention.Month) -> None:
    for left in reversed(range(_LOCK_TRIES)):
        try:
            with engine.transaction(box.engine) as connection:
                retention.drop_month(connection, month)
            return
        except Conflict:
            if not left:
                raise
            time.sleep(_LOCK_PAUSE_SECONDS)


@contextmanager
def _no_pass_running(box: Box) -> Iterator[bool]:
    """Hold the lock of passes, after some patience; False where one is at it all the time."""
    until = time.monotonic() + _PASS_WAIT_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(intake.exclusive(box.settings.work))
                break
            except Conflict:
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(1.0)
        yield True
