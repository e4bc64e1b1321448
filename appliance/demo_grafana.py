"""The demo's Grafana, where a program of that name is on this machine: none comes with the appliance."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import httpx

from appliance import children, ports
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine, principals, report

PORT = 3000
HOME_VARIABLE = "GRAFANA_HOME"
# Where packages put it.
_USUAL = Path("/usr/share/grafana")
_START_SECONDS = 90.0
_VERSION_SECONDS = 20.0
_HOW = f"docs/grafana.md says how to get one; {HOME_VARIABLE}=/folder names one that was unpacked."


@dataclass(frozen=True, slots=True)
class Program:
    """``home`` holds Grafana's own files, ``binary`` starts it."""

    home: Path
    binary: Path
    version: str


def find(tell: Callable[[str], None]) -> Program | None:
    """A Grafana that the dashboards were made for; says why there is none."""
    from grafana import server

    for home in _homes():
        binary = home / "bin" / "grafana"
        if not (os.access(binary, os.X_OK) and (home / "conf" / "defaults.ini").is_file()):
            continue
        version = _version(binary)
        if server.supported(version):
            return Program(home, binary, version)
        least = ".".join(map(str, server.LEAST))
        tell(f"Grafana {version or 'of no known version'} in {home} is left alone: {least} to 13 is needed.")
        return None
    tell(f"No Grafana is on this machine: the demo runs without its dashboards. {_HOW}")
    return None


def start(
    stack: ExitStack, box: Box, folder: Path, wanted_port: int, tell: Callable[[str], None]
) -> tuple[dict[str, subprocess.Popen[bytes]], list[str]]:
    """Start it on the demo's database, where there is one, and what to say of it; it ends with ``stack``, and with this
    process. Nothing where it does not come up."""
    program = find(tell)
    if program is None:
        return {}, []
    settings = box.settings
    taken = (settings.api_port, settings.airflow_port, settings.ui_port)
    port = ports.choose(PORT if wanted_port else 0, *taken)
    tell(f"Starting Grafana {program.version}, which takes some ten seconds ...")
    report.make_reader(box.engine)
    log = stack.enter_context((folder / "grafana.log").open("ab"))
    known = environment(program, settings, _token(box), port, folder)
    command = [str(program.binary), "server", "--homepath", str(program.home)]
    child = stack.enter_context(children.program(command, known, log))
    if _answers(child, port):
        return {"Grafana": child}, lines(settings, port, folder)
    tell(f"Grafana did not start: its log is {folder / 'grafana.log'}. The demo runs without it.")
    child.terminate()
    return {}, []


def environment(program: Program, settings: Settings, token: str, port: int, folder: Path) -> dict[str, str]:
    """All that it is told; no secret of it is among the words of its command."""
    from grafana import server

    data = folder / "grafana"
    files = _files()
    host, database = report.whereabouts(settings.require_dsn())
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(data),
        **server.CLOSED,
        "GF_PATHS_DATA": str(data),
        "GF_PATHS_LOGS": str(data / "log"),
        "GF_PATHS_PLUGINS": str(data / "plugins"),
        "GF_PATHS_PROVISIONING": str(files / "provisioning"),
        "GF_LOG_MODE": "console",
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_SECURITY_ADMIN_PASSWORD": _password(folder),
        "APPLIANCE_GRAFANA_DASHBOARDS": str(files / "dashboards"),
        "APPLIANCE_GRAFANA_DATABASE_HOST": host,
        "APPLIANCE_GRAFANA_DATABASE": database,
        "APPLIANCE_GRAFANA_DATABASE_USER": report.READER,
        "APPLIANCE_GRAFANA_ALERTS_URL": f"{settings.base_url}/alerts",
        "APPLIANCE_GRAFANA_ALERTS_TOKEN": token,
    }


def lines(settings: Settings, port: int, folder: Path) -> list[str]:
    url = f"http://127.0.0.1:{port}"
    return [
        f"Grafana  {url}/d/appliance-kiosk?kiosk&autofitpanels&var-screens={settings.screens_url}",
        f"         {url}/dashboards: the others; to sign in: admin, password in {folder / 'secrets' / 'grafana'}",
    ]


def _homes() -> Iterator[Path]:
    if named := os.environ.get(HOME_VARIABLE):
        yield Path(named)
        return
    if found := shutil.which("grafana"):
        yield Path(found).resolve().parents[1]
    yield _USUAL


def _version(binary: Path) -> str:
    try:
        said = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+\.\d+\S*", said)
    return found[0] if found else ""


def _files() -> Path:
    spec = find_spec("grafana")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _token(box: Box) -> str:
    """By which it tells of its alerts; those of earlier runs end as the demo begins, by their name."""
    name, tomorrow = f"demo-grafana-{secrets.token_hex(3)}", datetime.now(UTC) + timedelta(days=1)
    with engine.transaction(box.engine) as connection:
        return principals.create_token(connection, name, role="operator", source="api", expires_at=tomorrow)


def _password(folder: Path) -> str:
    """Made once, for Grafana reads it only as it makes its database; for our eyes only."""
    path = folder / "secrets" / "grafana"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(18))
    return path.read_text()


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + _START_SECONDS
    with httpx.Client(trust_env=False, timeout=2) as http:
        while child.poll() is None and time.monotonic() < until:
            try:
                answer: Mapping[str, str] = http.get(f"http://127.0.0.1:{port}/api/health").json()
                if answer.get("database") == "ok":
                    return True
            except (httpx.TransportError, ValueError):
                pass
            time.sleep(0.2)
    return False
