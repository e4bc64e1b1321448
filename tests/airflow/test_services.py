"""The api-server as it is started on a box: pages that want a password, a DAG started by hand, and a quick end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from appliance.airflow import config, health, secrets
from appliance.airflow.calls import Away, call
from appliance.airflow.trigger import trigger
from appliance.errors import ApiAway, NotFound, Unauthorized
from appliance.settings import Settings
from appliance.store import engine as engines
from tests.airflow.conftest import First, command, environment_of, shown_of

SECONDS = 30.0


@pytest.fixture(scope="module")
def api_server(box: Settings, first: First) -> Iterator[psutil.Process]:
    log = (config.logs(box) / "api-server.log").open("wb")
    words = [sys.executable, "-m", "appliance", "airflow", "api-server"]
    with log, subprocess.Popen(words, env=environment_of(box), stdout=log, stderr=log) as process:
        try:
            until = time.monotonic() + 180
            while not health.look(config.home_url(box)).reachable:
                assert process.poll() is None, log.name
                assert time.monotonic() < until
                time.sleep(0.2)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def sign_in(box: Settings, password: str) -> int:
    return call(f"{config.home_url(box)}/auth/token", SECONDS, {"username": secrets.ADMIN, "password": password})[0]


def test_nobody_gets_in_without_the_password(box: Settings, api_server: psutil.Process) -> None:
    url = config.home_url(box)
    assert call(f"{url}/api/v2/dags", SECONDS)[0] == 401
    assert sign_in(box, "admin") == 401
    assert sign_in(box, secrets.read_password(box)) == 201


def test_a_dag_is_started_by_hand(box: Settings, api_server: psutil.Process) -> None:
    assert trigger(box, "ingest").startswith("manual__")
    told = json.loads(command(environment_of(box), "trigger", "predict", "--json").stdout)
    assert (told["dag"], told["run"][:8]) == ("predict", "manual__")
    with pytest.raises(NotFound, match="Airflow has no DAG 'x y'"):
        trigger(box, "x y")
    engine = engines.connect(config.dsn(box))
    with engines.transaction(engine) as connection:
        runs = connection.exec_driver_sql("SELECT dag_id, state FROM dag_run ORDER BY 1").all()
    engine.dispose()
    assert [tuple(run) for run in runs] == [("ingest", "queued"), ("predict", "queued")]


def test_it_says_that_no_scheduler_ran(box: Settings, api_server: psutil.Process) -> None:
    found = health.look(config.home_url(box))
    assert (found.reachable, found.database, found.scheduler, found.well) == (True, True, False, False)
    assert "has never run" in command(environment_of(box), "health", code=1).stdout


def test_tasks_find_it_warm_and_nothing_of_it_calls_out(box: Settings, api_server: psutil.Process) -> None:
    assert call(f"{config.home_url(box)}/execution/health", SECONDS)[0] == 200
    docs = httpx.get(f"{config.home_url(box)}/docs", timeout=SECONDS, trust_env=False).text
    assert "swagger" not in docs, "that page fetches its scripts from the internet"
    listening = {c.laddr.ip for c in api_server.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    outside = [c.raddr for c in api_server.net_connections("inet") if c.raddr and not c.raddr.ip.startswith("127.")]
    assert outside == []


def test_no_secret_is_seen_of_it(box: Settings, api_server: psutil.Process) -> None:
    keys = secrets.read(box)
    shown = "\n".join(shown_of(api_server))
    logged = "".join(p.read_text() for p in config.logs(box).rglob("*") if p.is_file())
    assert "airflow" in shown
    for secret in (keys.fernet_key, keys.jwt_secret, keys.secret_key, secrets.read_password(box)):
        assert secret not in shown + logged


def test_another_password_counts_at_once(box: Settings, api_server: psutil.Process) -> None:
    before = secrets.read_password(box)
    told = command(environment_of(box), "password").stdout
    assert str(secrets.password_file(box)) in told
    after = secrets.read_password(box)
    assert after not in told
    assert before != after
    assert (sign_in(box, before), sign_in(box, after)) == (401, 201)


def test_a_password_that_was_changed_in_the_pages_is_told(box: Settings, api_server: psutil.Process) -> None:
    kept = secrets.read_password(box)
    secrets.renew_password(box)
    try:
        with pytest.raises(Unauthorized, match="does not take the password"):
            trigger(box, "ingest")
    finally:
        secrets.password_file(box).write_text(kept)


def test_it_ends_when_it_is_told_to(box: Settings, api_server: psutil.Process) -> None:
    api_server.terminate()
    api_server.wait(60)
    with pytest.raises(Away):
        call(f"{config.home_url(box)}/api/v2/version", SECONDS)
    with pytest.raises(ApiAway, match="does not answer"):
        trigger(box, "ingest")
