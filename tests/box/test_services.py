"""The appliance's services on a real Debian: they work behind their closed doors, and come back whatever happens.

Sandboxes, sockets and watchdogs are systemd's, users and peers PostgreSQL's: nothing is played here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from appliance.api import schema
from tests import profiles
from tests.box import host, made, services
from tests.box.box import Box
from tests.box.installed import Installed

pytestmark = pytest.mark.box

ROW = schema.example_row(profiles.load(made.PROFILE))
_ASK = f"""
from pathlib import Path
from appliance.client import Client
token = Path("/var/tmp/token").read_text().strip()
with Client(Path("/run/appliance/api.sock"), token) as api:
    print(api.predict_rows([{ROW!r}], profile="{made.PROFILE}", machine="mill-1")["rows"]["predicted"])
"""


@pytest.fixture(scope="module")
def box(installed: Installed) -> Iterator[Box]:
    """A box on which all services run."""
    with Box.made(installed.image) as copy:
        copy.start()
        made.back(copy)
        copy.run("install -o airflow -m 0600 /etc/appliance/secrets/appliance_api_token /var/tmp/token")
        yield copy


def show(box: Box, unit: str, name: str) -> str:
    return box.run(f"systemctl show --property {name} --value {unit}").out.strip()


def health(box: Box) -> dict[str, Any]:
    """What the API says of itself; waits until it answers."""
    script = "from pathlib import Path; from appliance.client import Client; import json;"
    script += "print(json.dumps(Client(Path('/run/appliance/api.sock')).health()))"
    found: dict[str, Any] = json.loads(services.python(box, script))
    return found


def await_active(box: Box, *units: str, seconds: float = 240) -> None:
    def active() -> bool:
        return box.run(f"systemctl is-active {' '.join(units)}", check=False).out.split() == ["active"] * len(units)

    host.wait_for(active, seconds, f"{units} are not up: {box.run('journalctl -b -n 60 --no-pager').out[-6000:]}")


def test_the_api_works_behind_its_doors(box: Box) -> None:
    assert services.python(box, _ASK) == "1\n"
    found = health(box)
    assert "fault" not in [fault["severity"] for fault in found["faults"]]
    assert show(box, "appliance-api", "StatusText").startswith(f"Serving {made.PROFILE} ")
    said = box.run("journalctl -u appliance-api --no-pager -o cat").out
    assert "cpuinfo" not in said
    assert "elemetry" not in said


def test_the_api_reaches_its_work_and_nothing_else(box: Box) -> None:
    script = """
import mmap, socket, subprocess
from pathlib import Path
def may(what, call):
    try:
        call()
    except (OSError, subprocess.SubprocessError):
        return
    print(what)
data = Path("/var/lib/appliance")
may("models", lambda: (data / "models/proof").write_text(""))
for name in ("good_data", "bad_data", "raw_data", "work", "archive", "airflow"):
    may(f"write {name}", lambda: (data / name / "proof").write_text(""))
may("read good_data", lambda: list((data / "good_data").iterdir()))
for name in (data / "work", data / "airflow", Path("/etc/appliance/secrets"), Path("/root"), Path("/home/admin")):
    may(f"read {name}", lambda: list(name.iterdir()))
may("database", lambda: socket.socket(socket.AF_UNIX).connect("/run/postgresql/.s.PGSQL.5432"))
may("network", lambda: socket.socket(socket.AF_INET))
may("namespaces", lambda: subprocess.run(["unshare", "--user", "true"], check=True, stderr=subprocess.DEVNULL))
may("code in memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC))
may("write /opt", lambda: Path("/opt/appliance/current/proof").write_text(""))
may("see others", lambda: Path("/proc/1/cmdline").read_text())
"""
    assert services.locked_in(box, "appliance-api", script).splitlines() == ["models", "read good_data", "database"]


def test_the_pipeline_may_move_files_and_not_change_models(box: Box) -> None:
    services.drop(box, "mill-1", "proof.csv.part", "proof")
    script = f"""
import fcntl, os
from pathlib import Path
data = Path("/var/lib/appliance")
dropped = data / "raw_data/{made.PROFILE}/mill-1/proof.csv.part"
with dropped.open("rb") as file:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    print("nobody writes it")
(data / "work/proof").write_text("")
(data / "work/proof").rename(data / "good_data/proof")
found = (data / "good_data/proof").stat()
print(oct(found.st_mode & 0o7777), (data / "good_data/proof").group())
(data / "good_data/proof").unlink()
dropped.unlink()
try:
    (data / "models/proof").write_text("")
except OSError as error:
    print("models:", error.strerror)
"""
    said = services.locked_in(box, "appliance-airflow-scheduler", script).splitlines()
    assert said == ["nobody writes it", "0o640 appliance", "models: Read-only file system"]


def test_requests_wait_while_the_api_starts_anew(box: Box) -> None:
    script = f"""
import time
from pathlib import Path
from appliance.client import Client
token = Path("/var/tmp/token").read_text().strip()
answered, end = 0, time.monotonic() + 25
while time.monotonic() < end:
    with Client(Path("/run/appliance/api.sock"), token) as api:
        answered += api.predict_rows([{ROW!r}], profile="{made.PROFILE}", machine="mill-1")["rows"]["predicted"]
print(answered)
"""
    before = int(made.rows(box, "SELECT count(*) FROM prediction")[0])
    with ThreadPoolExecutor(1) as aside:
        asking = aside.submit(services.python, box, script)
        for _ in range(3):
            time.sleep(3)
            box.run("systemctl restart appliance-api", seconds=120)
        answered = int(asking.result())
    assert answered > 3
    assert int(made.rows(box, "SELECT count(*) FROM prediction")[0]) - before == answered


def test_an_api_that_hangs_is_started_anew(box: Box) -> None:
    box.run("mkdir -p /run/systemd/system/appliance-api.service.d")
    box.run("cat > /run/systemd/system/appliance-api.service.d/99-soon.conf", given="[Service]\nWatchdogSec=6\n")
    box.run("systemctl daemon-reload && systemctl restart appliance-api", seconds=120)
    before = show(box, "appliance-api", "MainPID")
    box.run(f"kill -STOP {before}")
    host.wait_for(lambda: show(box, "appliance-api", "MainPID") not in ("0", before), 60, "it was not started anew")
    assert services.python(box, _ASK) == "1\n"


def test_a_schedule_that_hangs_alive_is_started_anew_with_its_pages(box: Box) -> None:
    for unit in ("api", "scheduler"):
        folder = f"/run/systemd/system/appliance-airflow-{unit}.service.d"
        box.run(f"mkdir -p {folder} && cat > {folder}/99-soon.conf", given="[Service]\nWatchdogSec=30\n")
    box.run("systemctl daemon-reload && systemctl restart appliance-airflow-scheduler", seconds=300)
    await_active(box, "appliance-airflow-api", "appliance-airflow-scheduler")
    before = [show(box, f"appliance-airflow-{unit}", "MainPID") for unit in ("api", "scheduler")]
    # Airflow itself, of which the service's own process is only the watcher.
    box.run(f"kill -STOP $(pgrep --parent {before[1]})")

    def renewed() -> bool:
        now = [show(box, f"appliance-airflow-{unit}", "MainPID") for unit in ("api", "scheduler")]
        return all(pid not in ("0", old) for pid, old in zip(now, before, strict=True))

    host.wait_for(renewed, 240, "it hangs still, or only one of both was started anew")
    await_active(box, "appliance-airflow-api", "appliance-airflow-scheduler")
    box.run("rm /run/systemd/system/appliance-airflow-*.service.d/99-soon.conf; systemctl daemon-reload")


def test_a_full_journal_stops_nothing(box: Box, tmp_path: Path) -> None:
    before = made.count(box, "SELECT count(*) FROM file")
    journal = "/var/log/journal"
    box.run(f"mkdir -p {journal} && mount -t tmpfs -o size=8M tmpfs {journal} && systemctl restart systemd-journald")
    box.run(f"dd if=/dev/zero of={journal}/filler bs=64K", check=False)
    services.drop(box, "mill-1", "while-full.csv", made.write(tmp_path, 77).read_text())
    made.settled(box, before + 1)
    assert services.python(box, _ASK) == "1\n"
    assert box.run(f"df --output=avail {journal}").out.split()[-1] == "0"
    box.run(f"umount --lazy {journal} && systemctl restart systemd-journald")
    box.run("logger there is room again && journalctl --sync")
    assert "there is room again" in box.run("journalctl --since -1min --no-pager -o cat").out


def test_the_target_ends_and_starts_all_of_it(box: Box) -> None:
    box.run("systemctl stop appliance.target", seconds=180)
    alive = "systemctl list-units --plain --no-legend --state=active,activating 'appliance*'"
    host.wait_for(lambda: box.run(alive).out == "", 120, f"it lives on: {box.run(alive).out}")
    box.run("systemctl start appliance.target", seconds=400)
    await_active(box, "appliance-airflow-api", "appliance-airflow-scheduler")
    assert services.python(box, _ASK) == "1\n"
