"""Every DAG file as the scheduler reads it: light, described, and with limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.settings import Settings
from tests.dags.conftest import ROOT

FOLDER = ROOT / "dags"
FILES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
SCHEDULES = {
    "ingest": ("* * * * *", "UTC"),
    "predict": ("*/2 * * * *", "UTC"),
    "maintain": ("30 2 * * *", "Asia/Tokyo"),
}
# What a process that only reads DAGs, or only looks whether there is anything to do, must not load.
HEAVY = {
    *("polars", "pandera", "numpy", "onnx", "onnxruntime", "sklearn", "pandas", "streamlit"),
    *("sqlalchemy", "alembic", "psycopg2", "httpx", "jinja2", "apprise", "fastapi", "cryptography"),
}

READ = """
import json, runpy, sys
import airflow.sdk
before = set(sys.modules)
told = {}
for name in sys.argv[2:]:
    dag = runpy.run_path(f"{sys.argv[1]}/{name}.py")["dag"]
    dag.validate()
    told[name] = {
        "id": dag.dag_id, "cron": dag.timetable.expression, "zone": str(dag.timetable.timezone),
        "start": dag.start_date.isoformat(), "catchup": dag.catchup, "runs": dag.max_active_runs,
        "timeout": dag.dagrun_timeout.total_seconds(), "tags": sorted(dag.tags), "doc": dag.doc_md,
        "description": dag.description, "paused": dag.is_paused_upon_creation,
        "tasks": {
            task.task_id: {
                "timeout": task.execution_timeout.total_seconds(), "doc": task.doc_md, "retries": task.retries,
                "backoff": task.retry_exponential_backoff, "before": sorted(task.upstream_task_ids),
                "past": task.depends_on_past,
            }
            for task in dag.tasks
        },
    }
print(json.dumps({"dags": told, "modules": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process finds in the files, on a box with its own schedule and no database."""
    return in_fresh_process(READ, str(FOLDER), *FILES, folder=tmp_path_factory.mktemp("box"))


def in_fresh_process(program: str, *arguments: str, folder: Path) -> dict[str, Any]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "AIRFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=ours | {"AIRFLOW_HOME": str(folder), "APPLIANCE_TIMEZONE": "Asia/Tokyo", "APPLIANCE_DATA_DIR": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_there_is_a_file_for_each_schedule() -> None:
    assert set(FILES) == set(SCHEDULES)


@pytest.mark.parametrize("name", FILES)
def test_a_dag_says_when_it_runs_what_it_does_and_how_long_it_may(read: dict[str, Any], name: str) -> None:
    dag = read["dags"][name]
    assert dag["id"] == name
    assert (dag["cron"], dag["zone"]) == SCHEDULES[name]
    assert dag["start"] < "2021"
    assert (dag["catchup"], dag["runs"]) == (False, 1)
    assert "appliance" in dag["tags"]
    assert dag["description"].endswith(".")
    assert f"appliance {name}" in dag["doc"], "an operator is to know how to do it by hand"
    assert "docs/schedule.md" in dag["doc"]
    for task, told in dag["tasks"].items():
        assert len(told["doc"]) > 60, task
        assert not told["past"]
        assert 0 < told["timeout"] < dag["timeout"], task
        # All tries and the pauses between them fit into the run.
        assert told["timeout"] * (told["retries"] + 1) <= dag["timeout"], task


def test_a_pass_gets_the_time_that_the_largest_file_takes(read: dict[str, Any]) -> None:
    """A file that is broken off by the clock again and again would end in quarantine."""
    slowest_rows_a_second = 30_000
    rows = Settings().file_limit_mb * 1024 * 1024 / 35
    assert read["dags"]["ingest"]["tasks"]["validate_and_split"]["timeout"] > rows / slowest_rows_a_second


def test_the_graphs(read: dict[str, Any]) -> None:
    graphs = {name: {task: told["before"] for task, told in dag["tasks"].items()} for name, dag in read["dags"].items()}
    assert graphs["ingest"] == {
        "look_for_files": [],
        "validate_and_split": ["look_for_files"],
        "record_statistics": ["validate_and_split"],
        "send_alerts": ["look_for_files", "record_statistics"],
    }
    assert graphs["predict"] == {
        "check_for_new_data": [],
        "predict_parts": ["check_for_new_data"],
        "send_alerts": ["check_for_new_data", "predict_parts"],
    }
    assert set(map(tuple, graphs["maintain"].values())) == {()}
    retried = {
        (task, told["retries"], told["backoff"] > 1)
        for dag in ("ingest", "predict")
        for task, told in read["dags"][dag]["tasks"].items()
        if told["retries"]
    }
    assert retried == {("predict_parts", 3, True)}


def test_reading_the_files_loads_nothing_heavy(read: dict[str, Any]) -> None:
    packages = {module.partition(".")[0] for module in read["modules"]}
    assert not packages & HEAVY
    ours = {module for module in read["modules"] if module.startswith("appliance")}
    assert ours == {"appliance", "appliance.settings", "appliance.errors"}
