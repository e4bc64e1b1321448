"""A box's Grafana is set as the code says, and the door to the API is as closed as the appliance's own services."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

from grafana import server

ROLE = Path("ansible/roles/grafana")
KNOWN = {
    **yaml.safe_load((ROLE / "vars" / "main.yml").read_text()),
    **yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()),
    "ansible_managed": "",
    "grafana_anonymous": True,
}


def rendered(name: str) -> str:
    """A template as the playbook writes it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    return environment.from_string((ROLE / "templates" / f"{name}.j2").read_text()).render(KNOWN)


SERVICE = rendered("service.conf")


def test_the_role_closes_what_the_code_closes() -> None:
    given = dict(line.removeprefix("Environment=").split("=", 1) for line in SERVICE.splitlines() if "=GF_" in line)
    assert server.CLOSED.items() <= given.items()


def test_the_role_tells_all_that_provisioning_asks_for() -> None:
    files = "".join(path.read_text() for path in Path("grafana/provisioning").rglob("*.yaml"))
    wanted = set(re.findall(r"\$\{?(APPLIANCE_\w+)", files))
    assert len(wanted) == 6
    assert wanted <= set(re.findall(r"Environment=(APPLIANCE_\w+)=", SERVICE))


def test_secrets_are_credentials_and_stand_in_no_file_of_settings() -> None:
    for line in SERVICE.splitlines():
        if re.search(r"TOKEN|PASSWORD|KEY", line) and line.startswith("Environment=") and "RETRIEVAL" not in line:
            assert re.fullmatch(r"Environment=\w+=\$__file\{%d/\w+\}", line), line
    named = set(re.findall(r"%d/(\w+)", SERVICE))
    assert named == set(re.findall(r"LoadCredential=(\w+):", SERVICE))


def test_the_role_takes_the_versions_that_the_code_takes() -> None:
    assert tuple(map(int, KNOWN["grafana_least"].split("."))) == server.LEAST
    assert (int(KNOWN["grafana_below"]),) == server.BELOW


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_door_is_closed_to_all_but_its_two_sockets(tmp_path: Path) -> None:
    for name in ("alerts.service", "alerts.socket"):
        text = rendered(name)
        (tmp_path / f"grafana-{name}").write_text(text.replace("/usr/lib/systemd/systemd-socket-proxyd", "/bin/true"))
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, tmp_path.iterdir())]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    look = ["systemd-analyze", "security", "--offline=true", str(tmp_path / "grafana-alerts.service")]
    done = subprocess.run(look, capture_output=True, text=True, timeout=60, env=environment)
    found = re.search(r"Overall exposure level for grafana-alerts\.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= 1.5, done.stdout
