"""Five minutes of a box under a real scheduler, which is killed in the middle: the accounts are exact.

Not among the tests that run all the time: the schedule's clock cannot be hurried (``make test-schedule``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from appliance.airflow import config, secrets
from appliance.store import accounts
from appliance.store import engine as engines
from tests.api.conftest import Shelf, shelf
from tests.conftest import Cluster
from tests.schedule.box import Scheduled

__all__ = ["shelf"]

pytestmark = pytest.mark.schedule

MINUTES = 5
MACHINES, ROWS, SECONDS_BETWEEN_FILES = 3, 40, 4
# Enough to kill a scheduler over; then the machines rest, so that there are minutes without anything to do.
FILES = 40
FINISHED = (
    "SELECT run_after FROM dag_run WHERE dag_id = '{}' AND run_type = 'scheduled' AND state IN ('success', 'failed')"
)
AT_WORK = (
    "SELECT r.dag_id, r.run_id, t.task_id FROM task_instance t JOIN dag_run r USING (dag_id, run_id)"
    " WHERE t.state = 'running' AND t.task_id IN ('validate_and_split', 'predict_parts')"
)
OVERLAPPING = """
    SELECT a.dag_id, a.run_id, b.run_id FROM dag_run a JOIN dag_run b ON a.dag_id = b.dag_id AND a.id < b.id
    WHERE a.start_date < coalesce(b.end_date, now()) AND b.start_date < coalesce(a.end_date, now())
"""


@pytest.fixture
def box(tmp_path: Path, dsn: str, cluster: Cluster, shelf: Shelf) -> Iterator[Scheduled]:
    airflow = cluster.create("template0")
    with ExitStack() as stack:
        yield Scheduled.make(tmp_path, dsn, cluster.dsn(airflow), shelf, stack)
    cluster.drop(airflow)


def test_five_minutes_with_a_killed_scheduler(box: Scheduled) -> None:
    box.start("api", "appliance", "api")
    box.start_airflow("api-server")
    scheduler = box.start_airflow("scheduler")
    box.until(box.well)
    play = ["--plant", "milling", "--into", str(box.settings.raw), "--machines", str(MACHINES), "--files", str(FILES)]
    pace = ["--rows-per-file", str(ROWS), "--every", str(SECONDS_BETWEEN_FILES), "--faults", "0.2"]
    plant = box.start("plant", "model.simulate", *play, *pace)

    # In the second minute, in the middle of a task that has rows in its hands.
    box.until(lambda: len(box.theirs(FINISHED.format("ingest"))) >= 1 and box.ours("SELECT FROM prediction LIMIT 1"))
    dag, run, _ = box.until(lambda: box.theirs(AT_WORK), every=0.02)[0]
    family = psutil.Process(scheduler.pid).children(recursive=True)
    assert len(family) >= 3, "two workers, and a task"
    del box.services["airflow-scheduler"]
    scheduler.kill()
    scheduler.wait()
    box.until(lambda: all(map(_ended, family)), every=0.05)
    box.start_airflow("scheduler")
    box.until(
        lambda: box.theirs(f"SELECT FROM dag_run WHERE dag_id = '{dag}' AND run_id = '{run}' AND state <> 'running'")
    )

    box.until(lambda: plant.poll() is not None, seconds=600)
    assert plant.returncode == 0, box.log("plant")
    box.until(lambda: len(box.theirs(FINISHED.format("ingest"))) >= MINUTES, seconds=600)
    box.until(
        lambda: not box.ours("SELECT FROM part WHERE state = 'waiting'") and not list(box.settings.raw.rglob("*.csv"))
    )
    skipped = "SELECT kind FROM run WHERE outcome = 'skipped' AND kind = '{}'"
    for kind in ("ingest", "predict"):
        box.until(lambda kind=kind: box.ours(skipped.format(kind)), seconds=300)
    box.until(box.well)
    # Between two tasks of a run a stop would be as good; the next scheduler goes on there.
    box.until(lambda: not box.theirs("SELECT FROM dag_run WHERE state IN ('queued', 'running')"), every=0.05)
    shown = box.shown()
    for name in ("airflow-scheduler", "airflow-api-server", "api"):
        box.services[name].terminate()
        box.services[name].wait(90)

    with engines.transaction(box.engine) as connection:
        assert accounts.violations(connection) == []
        books = accounts.accounting(connection)
    assert books.rows_in == books.rows_good + books.rows_bad
    assert books.rows_good == books.rows_predicted > 0
    assert (books.rows_waiting, books.rows_failed) == (0, 0)
    assert books.files + books.duplicates + books.quarantined >= MACHINES * FILES * 0.9, "some faults drop no file"
    assert box.theirs(OVERLAPPING) == []
    minutes = {row.run_after for row in box.theirs(FINISHED.format("ingest"))}
    assert len(minutes) == len(box.theirs(FINISHED.format("ingest"))), "a minute has one run"
    # Every run of ours is over or was killed: at most those that the killed scheduler had at work.
    assert len(box.ours("SELECT FROM run WHERE outcome IS NULL")) <= config.PARALLELISM

    keys = secrets.read(box.settings)
    hidden = [box.token, keys.fernet_key, keys.jwt_secret, keys.secret_key, secrets.read_password(box.settings)]
    logged = box.logs() + "".join(p.read_text() for p in config.logs(box.settings).rglob("*") if p.is_file())
    assert "scheduler" in shown
    assert [secret for secret in hidden if secret in shown or secret in logged] == []


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # between the two questions
        return True
