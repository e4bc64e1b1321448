"""What every service of Airflow runs as: nothing outlives it, and there is one scheduler."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from appliance.airflow import config, process, secrets
from appliance.errors import Conflict
from tests.airflow.conftest import command, environment_of, settings_of

# Forks, and forks again, as a scheduler does with a worker and its task; TERM means nothing to them, as to those.
FAMILY = """
import os, signal, time
from appliance.airflow import process
process.end_children_with_parents()
signal.signal(signal.SIGTERM, lambda *_: None)
for _ in range(2):
    if os.fork() == 0:
        os.fork()
        break
os.write(1, b"ready\\n")
while True:
    time.sleep(1)
"""


def test_what_a_service_forked_ends_with_it_however_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        for _ in range(5):
            assert parent.stdout.readline() == b"ready\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 4
        parent.kill()
    until = time.monotonic() + 20
    while alive := [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < until, alive
        time.sleep(0.02)


def test_there_is_one_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setattr(process, "_LEAVE_SECONDS", 0.3)
    with (tmp_path / "scheduler.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="running already"):
            process.be_the_only_one()


def test_wrong_words_are_airflows_to_answer(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    secrets.make(settings)
    told = command(environment_of(settings), "command", "nonsense", code=2)
    assert "invalid choice: 'nonsense'" in told.stderr


# The thread that is interrupted holds the lock of the log, which Airflow's own handler would then wait for for ever.
STOPPED = """
import os, signal, sys
from appliance.airflow import process
process.end_between_turns()
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from structlog import _output
runner = SchedulerJobRunner.__new__(SchedulerJobRunner)
runner._enable_tracemalloc, runner.num_runs = False, -1
runner.register_signals()
locks = [_output._get_lock_for_file(file) for file in (sys.stdout, sys.stderr, sys.stdout.buffer, sys.stderr.buffer)]
for lock in locks:
    lock.acquire()
if os.fork() == 0:
    import multiprocessing
    multiprocessing.current_process().name = "Worker-1"
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0 if runner.num_runs == -1 else 1)
assert os.wait()[1] == 0
os.kill(os.getpid(), signal.SIGTERM)
assert runner.num_runs == 1, runner.num_runs
try:
    os.kill(os.getpid(), signal.SIGTERM)
except SystemExit as end:
    print("gone with", end.code)
"""


def test_a_scheduler_is_stopped_between_two_turns_and_at_once_by_a_second_signal(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    secrets.make(settings)
    done = subprocess.run(
        [sys.executable, "-c", STOPPED],
        env=config.environment(settings, environment_of(settings)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "gone with 0\n"), done.stderr
