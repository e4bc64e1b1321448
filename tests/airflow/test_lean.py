"""What Airflow's services leave out, and share, is all still there for what the box asks of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.airflow import config, secrets
from tests.airflow.conftest import settings_of

# The application is that of Airflow, called as the client of its tasks calls it.
INTERFACE = """
from appliance.airflow import lean
lean.forget_old_versions()
from airflow.api_fastapi.execution_api.app import create_task_execution_api_app
from airflow.api_fastapi.execution_api.versions import bundle
from airflow.sdk.api.datamodels._generated import API_VERSION
from starlette.testclient import TestClient
assert len(bundle.versions) == 3, bundle.versions
assert bundle.versions[0].value == API_VERSION
with TestClient(create_task_execution_api_app()) as client:
    answers = {
        version: client.get("/health", headers={"Airflow-API-Version": version}).status_code
        for version in bundle.version_values
    }
    assert set(answers.values()) == {200}, answers
    # Without a token nobody is told a thing: the route is there, with its checks.
    path = "/dag-runs/ingest/count"
    assert client.get(path, headers={"Airflow-API-Version": API_VERSION}).status_code in (401, 403)
"""

ANOTHER_AIRFLOW = """
import airflow.api_fastapi.execution_api.versions as versions
kept = versions.bundle
class Strange:
    versions = "strange"
versions.bundle = Strange
from appliance.airflow import lean
lean.forget_old_versions()
assert versions.bundle is Strange
"""

SHARED = """
import gc, sys
import airflow.cli.commands.scheduler_command
from appliance.airflow import lean
lean.share_with_workers()
frozen = gc.get_freeze_count()
assert frozen > 100_000, frozen
for name in lean._OF_WORKERS:
    assert name in sys.modules, name
# As the executor does around its forks.
gc.freeze()
gc.unfreeze()
assert gc.get_freeze_count() >= frozen
class Ring:
    pass
ring = Ring()
ring.itself = ring
del ring
assert gc.collect() > 0
"""


@pytest.mark.parametrize("program", [INTERFACE, ANOTHER_AIRFLOW, SHARED], ids=["interface", "another", "shared"])
def test_a_service_leaves_out_what_no_task_of_this_release_asks_for(program: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    secrets.make(settings)
    environment = config.environment(settings, os.environ)
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
