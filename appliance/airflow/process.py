"""What Airflow's services run as: ``python -m appliance.airflow.process SERVICE ...``, in an environment of :mod:`.config`.

It adds to ``airflow SERVICE`` what a box needs of it. Under systemd it is watched. Whatever it forks ends with it, for
Airflow's workers outlive a scheduler that is killed, each holding its memory for ever. There is one scheduler, which
takes up at once what the one before it left. And the api-server is warm before tasks need it.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance import children, watched
from appliance.airflow import health, lean
from appliance.airflow.calls import Away, call
from appliance.errors import ApplianceError, Conflict

_WARM_SECONDS = 120.0
# What the workers of a scheduler that was killed may take to go with it.
_LEAVE_SECONDS = 10.0
_SERVICES = ("api-server", "scheduler")


def main() -> None:
    arguments = sys.argv[1:]
    service = next(iter(arguments), "")
    if service in _SERVICES and "NOTIFY_SOCKET" in os.environ:
        words = [sys.executable, "-P", "-m", "appliance.airflow.process", *arguments]
        sys.exit(watched.run(words, os.environ, health.watch(_url().removesuffix("/execution"), service)))
    end_children_with_parents()
    if service == "scheduler":
        be_the_only_one()
    run = importlib.import_module("airflow.__main__").main
    if service == "api-server":
        lean.forget_old_versions()
        threading.Thread(target=_settle, name="settle", daemon=True).start()
    elif service == "scheduler":
        # Slow, and done while the api-server starts.
        importlib.import_module("airflow.cli.commands.scheduler_command")
        end_between_turns()
        _warm()
        lean.share_with_workers()
    sys.argv = ["airflow", *arguments]
    _run(run, quickly=service in _SERVICES)


def _run(command: Callable[[], object], quickly: bool) -> None:
    """Run it; a service is gone when it is done, without the seconds that Python would take to clear its memory."""
    if not quickly:
        command()
        return
    code: object = 0
    try:
        command()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)  # noqa: T201
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def end_children_with_parents() -> None:
    """Whatever this process forks, and what that forks, is killed with its parent."""
    parents = [os.getpid()]

    def before() -> None:
        parents[0] = os.getpid()

    def in_child() -> None:
        # Not TERM: a worker has its scheduler's handler for that, which does nothing in it.
        children.end_with_parent(children.KILL)
        if os.getppid() != parents[0]:
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)


def end_between_turns() -> None:
    """Let TERM and INT end the scheduler when its turn is over, a second later, and a second one at once.

    Airflow's own handler raises SystemExit wherever the scheduler stands, be it half-way through a message to a worker,
    and writes to the log first, whose lock the interrupted thread may hold: it then waits for itself.
    """
    module: Any = importlib.import_module("airflow.jobs.scheduler_job_runner")

    def leave(runner: Any, _signal: int, _frame: object) -> None:
        if not module._is_parent_process():  # a worker's inherited handler: workers end by a message
            return
        if runner.num_runs == 1:
            sys.exit(os.EX_OK)
        runner.num_runs = 1

    module.SchedulerJobRunner._exit_gracefully = leave


def be_the_only_one() -> None:
    """Hold the lock of the box's one scheduler, here and in everything that is forked from here.

    Who gets it knows that no task of an earlier scheduler runs either, however that one ended, and says so to Airflow,
    which would wait for a minute.
    """
    # To read is enough for a lock, should the file be somebody else's.
    lock = os.open(Path(os.environ["AIRFLOW_HOME"]) / "scheduler.lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    until = time.monotonic() + _LEAVE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                raise Conflict(
                    "A scheduler of this box's Airflow is running already.", "One is enough; stop it first."
                ) from None
            time.sleep(0.2)
    from appliance.store import airflow as database
    from appliance.store import engine

    store = engine.connect(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], "appliance-airflow", pool_size=1)
    with engine.transaction(store) as connection:
        database.end_schedulers(connection)
    store.dispose()


def _warm() -> None:
    """Wait until the api-server takes calls of tasks: at the first one it builds an application, for some seconds.

    Where it does not come, the service goes on: its own log and the box's health tell it then.
    """
    until = time.monotonic() + _WARM_SECONDS
    while time.monotonic() < until:
        try:
            status, _ = call(f"{_url()}/health", seconds=30.0)
            if status == 200:
                return
        except Away:
            pass
        time.sleep(0.5)


def _settle() -> None:
    """What the api-server does beside its start: build the tasks' application, and give back what that left over."""
    _warm()
    lean.give_back()


def _url() -> str:
    """Where tasks report to."""
    return os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].rstrip("/")


if __name__ == "__main__":
    try:
        main()
    except ApplianceError as error:
        sys.exit(f"appliance: {error}")
