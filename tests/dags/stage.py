"""The process in which DAGs are played: Airflow is imported once, and each order is one ``dag.test()``.

Orders come in as lines of JSON, answers go out so. ``environment`` is what the box's settings are for this run; ``breaks``
names a file at which reading breaks off (``exception`` or ``panic``: what a library in Rust raises).
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn
from unittest import mock

_LONGEST_NAP = 0.05
_sleep = time.sleep


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    # Airflow talks on its standard output.
    os.dup2(2, 1)
    sys.argv = ["airflow", "db", "migrate"]
    from airflow.__main__ import main as airflow

    airflow()
    _tell(answers, {"ready": True})
    # dag.test() naps for a second whenever a state has to settle.
    time.sleep = lambda seconds: _sleep(min(seconds, _LONGEST_NAP))  # type: ignore[assignment]
    for line in sys.stdin:
        try:
            answer = _play(json.loads(line))
        except Exception as error:
            answer = {"trouble": f"{type(error).__name__}: {error}"}
        _tell(answers, answer)


def _play(order: dict[str, Any]) -> dict[str, Any]:
    for name in [name for name in os.environ if name.startswith("APPLIANCE_")]:
        del os.environ[name]
    os.environ.update(order["environment"])
    from appliance.airflow.config import DAGS_FOLDER

    dag = runpy.run_path(str(DAGS_FOLDER / f"{order['dag']}.py"))["dag"]
    for task in dag.tasks:
        if task.retries:
            # No test waits a minute, and the pause itself is Airflow's.
            task.retry_delay, task.retry_exponential_backoff = timedelta(milliseconds=10), 0
    with _breaking(**order["breaks"]):
        run = dag.test()
    from airflow.utils.session import create_session

    with create_session() as session:
        tasks = {
            task.task_id: {"state": str(task.state), "tries": task.try_number}
            for task in run.get_task_instances(session=session)
        }
    return {"state": str(run.state), "tasks": tasks, "run_id": run.run_id}


@contextmanager
def _breaking(name: str = "", how: str = "") -> Iterator[None]:
    if not name:
        yield
        return
    from appliance import splitting

    original = splitting.split

    def split(settings: Any, profile: Any, arrival: Any, claimed: Any, places: Any) -> Any:
        if claimed.name == name:
            _break(how)
        return original(settings, profile, arrival, claimed, places)

    with mock.patch.object(splitting, "split", split):
        yield


def _break(how: str) -> NoReturn:
    if how == "panic":
        import polars as pl

        raise pl.exceptions.PanicException("index out of bounds")
    raise ZeroDivisionError("what nobody foresaw")


def _tell(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
