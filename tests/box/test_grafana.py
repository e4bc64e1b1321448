"""The role ``grafana`` on a box, with a stand-in package that is named so: its settings, its rights in the database, its
door to the API. What Grafana itself makes of them is not tried here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grafana import server
from tests.box import host, made
from tests.box.box import Box
from tests.box.installed import Installed
from tests.box.playbook import Playbook
from tests.box.test_playbook import DECLARED

pytestmark = pytest.mark.box

PROGRAM = r"""#!/usr/bin/python3
# A stand-in for Grafana's program: says what it was told, asks the database as it was told, sends an alert.
import http.server, json, os, re, subprocess, urllib.request
read = lambda value: re.sub(r"\$__file\{([^}]+)\}", lambda found: open(found[1]).read().strip(), value)
known = {name: value for name, value in os.environ.items() if name.startswith(("GF_", "APPLIANCE_"))}
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(200, {"database": "ok", "version": "13.2.3"} if self.path == "/api/health" else known)
    def do_POST(self):
        given = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/sql":
            where = ["-h", known["APPLIANCE_GRAFANA_DATABASE_HOST"], "-U", known["APPLIANCE_GRAFANA_DATABASE_USER"]]
            done = subprocess.run(["psql", "-XAt", *where, "-c", given.decode(), known["APPLIANCE_GRAFANA_DATABASE"]],
                capture_output=True, text=True)
            return self.say(200, {"out": done.stdout.strip(), "err": done.stderr.strip()})
        login = "Bearer " + read(known["APPLIANCE_GRAFANA_ALERTS_TOKEN"])
        headers = {"content-type": "application/json", "authorization": login}
        request = urllib.request.Request(known["APPLIANCE_GRAFANA_ALERTS_URL"], given, headers)
        self.say(200, json.load(urllib.request.urlopen(request, timeout=30)))
    def say(self, status, answer):
        self.send_response(status)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
    def log_message(self, *_): pass
place = known["GF_SERVER_HTTP_ADDR"], int(known["GF_SERVER_HTTP_PORT"])
assert len(read(known["GF_SECURITY_ADMIN_PASSWORD"])) >= 32
http.server.ThreadingHTTPServer(place, Answers).serve_forever()
"""
UNIT = """[Unit]
Description=A stand-in for Grafana
[Service]
User=grafana
Group=grafana
ExecStart=/usr/share/grafana/bin/grafana server
Restart=on-failure
NoNewPrivileges=true
ProtectSystem=full
PrivateTmp=true
[Install]
WantedBy=multi-user.target
"""
POSTINST = """#!/bin/sh
set -e
id grafana >/dev/null 2>&1 || useradd --system --no-create-home --home-dir /usr/share/grafana --shell /bin/false grafana
systemctl daemon-reload
"""


def package(folder: Path, version: str = "13.2.3") -> Path:
    """A Debian package of that name with nothing of Grafana in it."""
    root = folder / f"grafana-{version}"
    files = {
        "DEBIAN/control": f"Package: grafana\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
        "Description: a stand-in for Grafana, for tests\n",
        "DEBIAN/postinst": POSTINST,
        "usr/share/grafana/bin/grafana": PROGRAM,
        "usr/lib/systemd/system/grafana-server.service": UNIT,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    made = folder / f"{root.name}.deb"
    host.call("dpkg-deb", "--build", "--root-owner-group", root, made)
    return made


@pytest.fixture(scope="module")
def playbook(installed: Installed, desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playbook]:
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        playbook = Playbook(box, desk)
        source = package(tmp_path_factory.mktemp("package"))
        # What else the playbook does was done when this box was set up.
        first = playbook.run("-e", f"grafana_source={source}", "--tags", "postgres,grafana")
        assert first.counts["failed"] == 0
        yield playbook


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


def ask(box: Box, path: str, given: str | None = None) -> Any:
    data = "--data-binary @-" if given is not None else ""
    return json.loads(box.run(f"curl --silent {data} http://127.0.0.1:3000{path}", given=given or "").out)


def test_a_second_run_changes_nothing(playbook: Playbook, tmp_path: Path) -> None:
    again = playbook.run("-e", f"grafana_source={package(tmp_path)}", "--tags", "grafana")
    # The package is built anew here, and a package's file is not the same twice.
    assert all("Bring Grafana's package" in change for change in again.changes), again.changes
    assert again.counts["failed"] == 0


def test_it_is_told_what_the_code_says_and_no_secret(box: Box) -> None:
    told = ask(box, "/told")
    assert server.CLOSED.items() <= told.items()
    assert told["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    for name in ("grafana_admin_password", "appliance_grafana_token"):
        secret = box.run(f"cat /etc/appliance/secrets/{name}").out.strip()
        assert secret not in json.dumps(told)
        assert secret not in box.run("systemctl show grafana-server grafana-alerts").out
        assert secret not in box.run("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '", check=False).out
        assert box.run(f"runuser -u grafana -- cat /etc/appliance/secrets/{name}", check=False).code != 0
    for path in ("dashboards/appliance-kiosk.json", "provisioning/alerting/appliance.yaml"):
        assert box.run(f"runuser -u grafana -- cat /usr/local/share/appliance-grafana/{path}").out


def test_it_reads_the_views_and_nothing_else(box: Box) -> None:
    assert int(ask(box, "/sql", "SELECT count(*) FROM report.machine")["out"]) >= 1
    for statement in (
        "SELECT * FROM public.token",
        "CREATE TABLE public.x (a int)",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        found = ask(box, "/sql", statement)
        assert found["out"] == ""
        assert "permission denied" in found["err"] or "read-only" in found["err"], found
    denied = box.run(
        "runuser -u grafana -- psql -XAt -h /var/run/postgresql -U appliance appliance -c 'SELECT 1'", check=False
    )
    assert denied.code != 0


def test_what_it_finds_arrives(box: Box) -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "Predictions are late", "rule": "appliance-lag", "profile": made.PROFILE},
        "annotations": {"summary": "Good rows wait."},
        "startsAt": "2026-03-01T08:00:00Z",
        "fingerprint": "f",
    }
    given = json.dumps({"alerts": [alert]})
    assert ask(box, "/alert", given) == {"told": 1, "over": 0, "known": 0}
    assert ask(box, "/alert", given) == {"told": 0, "over": 0, "known": 1}
    assert made.count(box, "SELECT count(*) FROM event WHERE kind = 'alert'") == 1
    refused = box.run(
        "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:8001/alerts -d '{}'"
    ).out
    assert refused == "401"


def test_nothing_listens_to_the_network_for_it(box: Box) -> None:
    listening = {line.split()[4] for line in box.run("ss -Hltun").out.splitlines()}
    assert listening <= DECLARED | {"127.0.0.1:3000", "127.0.0.1:8001"}, listening


def test_a_drill_as_grafana_sees_it(box: Box) -> None:
    found = json.loads(box.run("appliance alerts drill --json", seconds=120).out)
    assert found["well"]
    assert found["seen_by"] == "grafana"
    assert {one["state"] for one in found["alerts"]} == {"fires"}


def test_the_timer_of_what_was_left_lying_works(box: Box) -> None:
    box.run("systemctl start appliance-notify", seconds=120)
    assert box.run("systemctl show --property Result --value appliance-notify").out.strip() == "success"
    assert "appliance-notify.timer" in box.run("systemctl list-timers --no-pager 'appliance*'").out


def test_all_of_it_starts_with_the_machine(box: Box) -> None:
    wanted = ("grafana-server.service", "grafana-alerts.socket", "appliance-notify.timer")
    assert box.run(f"systemctl is-enabled {' '.join(wanted)}").out.split() == ["enabled"] * len(wanted)
    assert box.state() == ("running", [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grafana_source=/nowhere.deb"], "neither a file on this machine"),
        (["grafana_source=package", "grafana_address=0.0.0.0", "grafana_anonymous=true"], "would show everything"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(playbook: Playbook, words: list[str], said: str) -> None:
    given = [word for pair in words for word in ("-e", json.dumps(dict([pair.split("=", 1)])))]
    ran = playbook.run(*given, "--tags", "preflight", check=False)
    assert ran.counts.get("failed") == 1
    assert said in " ".join(ran.out.split())


def test_an_old_one_is_not_installed(playbook: Playbook, tmp_path: Path) -> None:
    ran = playbook.run("-e", f"grafana_source={package(tmp_path, '11.6.1')}", "--tags", "grafana", check=False)
    assert ran.counts.get("failed") == 1
    assert "This is Grafana 11.6.1" in ran.out
    assert playbook.box.run("dpkg-query --show --showformat '${Version}' grafana").out == "13.2.3"


def test_the_stand_in_is_no_grafana(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--contents", package(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert sum(not line.split()[0].startswith("d") for line in listed.splitlines()) == 2
