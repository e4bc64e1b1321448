"""Airflow's side of the setting up, in a child process: ``python -m appliance.airflow.prepare PASSWORD_FILE STEP ...``.

The steps are ``tables``, ``user``, ``password`` and ``dags``. What came of each is told on standard output, a JSON
object a line; Airflow's own words go to standard error, which is a log. One process for all, because it takes longer
to import Airflow than to do any of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from appliance.airflow.process import end_children_with_parents
from appliance.airflow.secrets import ADMIN

_ROLE = "Admin"


def main() -> None:
    answers = _answers()
    password = Path(sys.argv[1])
    # Reading the files of DAGs forks.
    end_children_with_parents()
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    steps: dict[str, Callable[[Path], dict[str, Any]]] = {
        "tables": _tables,
        "user": _user,
        "password": _password,
        "dags": _dags,
    }
    for step in sys.argv[2:]:
        done = providers_configuration_loaded(steps[step])(password)
        answers.write(json.dumps({"step": step, **done}) + "\n")
        answers.flush()


def _answers() -> IO[str]:
    """Standard output for us alone: whatever Airflow prints from now on goes to standard error."""
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return ours


def _tables(_: Path) -> dict[str, Any]:
    """Bring Airflow's tables, and those of its users, to the installed version."""
    from airflow.utils.db import upgradedb

    upgradedb()
    return {}


def _user(password: Path) -> dict[str, Any]:
    """The first user, where there is none of that name; one that is there stays as it is."""
    with _security() as security:
        if security.find_user(ADMIN) is not None:
            return {"made": False}
        _add(security, password)
    return {"made": True}


def _password(password: Path) -> dict[str, Any]:
    """Give the first user the password in the file."""
    with _security() as security:
        user = security.find_user(ADMIN)
        if user is None:
            _add(security, password)
        elif not security.reset_password(user.id, password.read_text()):
            raise RuntimeError("the password was not taken")
    return {}


def _dags(_: Path) -> dict[str, Any]:
    """Read every file of DAGs once and store what it says; DAGs whose files went are dropped.

    Without the record of a running processor that the command ``airflow dag-processor`` leaves: Airflow's pages would
    say for ever after that it died.
    """
    from airflow.dag_processing.manager import DagFileProcessorManager

    # A DAG that was last read earlier than its file was stands in it no longer.
    processor: Any = DagFileProcessorManager(max_runs=1, stale_dag_threshold=1)
    try:
        processor.run()
        read = {file: stat.last_finish_time for file, stat in processor._file_stats.items() if not stat.import_errors}
        processor.deactivate_stale_dags(last_parsed=read)
    finally:
        processor.terminate()
        processor.end()
    return {}


@contextmanager
def _security() -> Iterator[Any]:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        yield builder.sm


def _add(security: Any, password: Path) -> None:
    role = security.find_role(_ROLE)
    made = security.add_user(ADMIN, "Box", "Administrator", f"{ADMIN}@localhost", role, password.read_text())
    if not made:
        raise RuntimeError("Airflow's first user was not made")


if __name__ == "__main__":
    main()
