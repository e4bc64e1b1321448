"""The demo's Grafana: a stand-in for its program, named so, writes down what it was told and says that it is well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest
import yaml
from sqlalchemy import Engine

from appliance import demo_grafana
from appliance.pipeline import Box
from appliance.settings import Settings
from grafana import server
from tests.demo import test_demo
from tests.demo.test_demo import folder

__all__ = ["folder"]

STAND_IN = """#!{python}
# A stand-in for Grafana's program.
import http.server, json, os, sys
if sys.argv[1:] == ["--version"]:
    print("grafana version {version}")
    sys.exit(0)
here = os.environ["GF_PATHS_DATA"]
os.makedirs(here, exist_ok=True)
open(here + "/told", "w").write(json.dumps({{"words": sys.argv, "environment": dict(os.environ)}}))
if {broken}:
    sys.exit("no such database")
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"database": "ok", "version": "{version}"}}')
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])), Health).serve_forever()
"""

Home = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    def made(version: str = "13.2.3", broken: bool = False) -> Path:
        folder = tmp_path / "unpacked"
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "defaults.ini").touch()
        (folder / "bin").mkdir()
        program = folder / "bin" / "grafana"
        program.write_text(STAND_IN.format(python=sys.executable, version=version, broken=broken))
        program.chmod(0o755)
        monkeypatch.setenv(demo_grafana.HOME_VARIABLE, str(folder))
        return folder

    return made


@pytest.fixture
def box(engine: Engine, dsn: str, tmp_path: Path) -> Box:
    return Box(Settings(data_dir=tmp_path / "data", dsn=dsn), engine)  # type: ignore[arg-type]


def test_a_machine_without_one_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setenv(demo_grafana.HOME_VARIABLE, str(tmp_path))
    assert demo_grafana.find(said.append) is None
    assert "docs/grafana.md" in said[0]
    assert "## Get one" in Path("docs/grafana.md").read_text()


@pytest.mark.parametrize("version", ["11.6.1", "12.4.1", "14.0.0", "nothing"])
def test_one_that_the_dashboards_were_not_made_for_is_left_alone(home: Home, version: str) -> None:
    said: list[str] = []
    home(version)
    assert demo_grafana.find(said.append) is None
    assert "is left alone: 12.4.2 to 13 is needed" in said[0]


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("12.4.2", True), ("13.0.0", True), ("13.2.3-pre", True), ("12.4.1", False), ("14.0.0", False), ("", False)],
)
def test_versions(version: str, wanted: bool) -> None:
    assert server.supported(version) is wanted


def test_it_runs_on_the_demo_s_database_with_all_doors_closed(home: Home, box: Box, tmp_path: Path, dsn: str) -> None:
    home()
    folder = tmp_path / "demo"
    folder.mkdir()
    with ExitStack() as stack:
        started, told = demo_grafana.start(stack, box, folder, 0, lambda _: None)
        child = started["Grafana"]
        known = json.loads((folder / "grafana" / "told").read_text())
        given = known["environment"]
        assert httpx.get(f"http://127.0.0.1:{given['GF_SERVER_HTTP_PORT']}/api/health", trust_env=False).is_success
    assert child.poll() is not None, "it ends with the demo"
    assert known["words"][1:3] == ["server", "--homepath"]
    assert server.CLOSED.items() <= given.items()
    assert given["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    password = folder / "secrets" / "grafana"
    assert password.stat().st_mode & 0o777 == 0o600
    secrets = (given["GF_SECURITY_ADMIN_PASSWORD"], given["APPLIANCE_GRAFANA_ALERTS_TOKEN"])
    assert secrets[0] == password.read_text()
    assert not any(secret in " ".join([*known["words"], *told]) for secret in secrets)
    assert told[0].startswith("Grafana  http://127.0.0.1:")
    # Every place that the provisioning files name is one that is there.
    assert Path(given["APPLIANCE_GRAFANA_DASHBOARDS"], "appliance-kiosk.json").is_file()
    [source] = yaml.safe_load(Path(given["GF_PATHS_PROVISIONING"], "datasources", "appliance.yaml").read_text())[
        "datasources"
    ]
    words = {"host": source["url"], "user": source["user"], "dbname": source["jsonData"]["database"]}
    session = psycopg2.connect(**{name: given[word.removeprefix("$")] for name, word in words.items()})
    with session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM report.machine")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM public.token")
    session.close()


def test_one_that_does_not_start_is_done_without(home: Home, box: Box, tmp_path: Path) -> None:
    home(broken=True)
    said: list[str] = []
    with ExitStack() as stack:
        assert demo_grafana.start(stack, box, tmp_path, 0, said.append) == ({}, [])
    assert "did not start" in said[-1]
    assert "no such database" in (tmp_path / "grafana.log").read_text()


def test_the_demo_shows_where_it_is_and_ends_with_it(home: Home, folder: Path) -> None:
    home()
    demo = test_demo._start(folder, "--no-airflow", "--no-ui", "--rows-per-file", "40")
    try:
        assert demo.stdout is not None
        line = next(line for line in demo.stdout if line.startswith("Grafana"))
        assert httpx.get(line.split()[1], trust_env=False).is_success
        assert (folder / "grafana" / "told").is_file()
        [child] = [
            process
            for process in psutil.Process(demo.pid).children(recursive=True)
            if "unpacked/bin/grafana" in " ".join(test_demo._words(process))
        ]
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=60)
        assert demo.returncode == 0, err
        assert test_demo._gone([child], 10)
    finally:
        demo.kill()
        demo.communicate()


def test_the_command_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "demo", "--help"], capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
    )  # fmt: skip
    assert "--no-grafana" in done.stdout
