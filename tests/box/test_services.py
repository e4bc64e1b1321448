"""The appliance's services on a real Debian: they work behind their closed doors, and come back whatever happens.

Sandboxes, sockets, watchdogs and power cuts are systemd's, users and peers PostgreSQL's: nothing is played here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.api import schema
from tests import profiles
from tests.box import furnish, host, services
from tests.box.box import Box
from tests.box.disk import Image

pytestmark = pytest.mark.box

ROW = schema.example_row(profiles.load(services.PROFILE))
_ASK = f"""
from pathlib import Path
from appliance.client import Client
token = Path("/var/tmp/token").read_text()
with Client(Path("/run/appliance/api.sock"), token) as api:
    print(api.predict_rows([{ROW!r}], profile="{services.PROFILE}", machine="mill-1")["rows"]["predicted"])
"""


@pytest.fixture(scope="module")
def box(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box on which all services run."""
    with Box.made(furnish.furnished(image)) as made:
        made.start()
        services.install(made, tmp_path_factory.mktemp("services"))
        made.run("systemctl start appliance.target", seconds=120)
        made.run("install -o airflow -m 0600 /etc/appliance/secrets/appliance_api_token /var/tmp/token")
        yield made


def show(box: Box, unit: str, name: str) -> str:
    return box.run(f"systemctl show --property {name} --value {unit}").out.strip()


def health(box: Box) -> dict[str, Any]:
    """What the API says of itself; waits until it answers."""
    script = "from pathlib import Path; from appliance.client import Client; import json;"
    script += "print(json.dumps(Client(Path('/run/appliance/api.sock')).health()))"
    found: dict[str, Any] = json.loads(services.python(box, script))
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [fault["name"] for fault in found["faults"]]


def await_active(box: Box, *units: str, seconds: float = 240) -> None:
    def active() -> bool:
        return box.run(f"systemctl is-active {' '.join(units)}", check=False).out.split() == ["active"] * len(units)

    host.wait_for(active, seconds, f"{units} are not up: {box.run('journalctl -b -n 60 --no-pager').out[-6000:]}")


def rows(box: Box, statement: str) -> list[str]:
    """The first column of what a query gives."""
    line = "cd / && runuser -u appliance -- psql --no-psqlrc --set ON_ERROR_STOP=1 --tuples-only --no-align appliance --file -"
    return box.run(line, given=statement).out.split()


def predicted(box: Box) -> int:
    """Rows of files that were predicted."""
    return int(rows(box, "SELECT count(*) FROM prediction WHERE file_id IS NOT NULL")[0])


def csv(seed: int, folder: Path) -> str:
    """A file as a mill drops it."""
    words = ["--plant", services.PROFILE, "--machines", "1", "--files", "1", "--every", "0.1", "--rows-per-file", "60"]
    command = [sys.executable, "-m", "model.simulate", *words, "--seed", str(seed), "--into", str(folder)]
    subprocess.run(command, cwd=furnish.CHECKOUT, check=True, capture_output=True, timeout=60)
    return next(folder.rglob("*.csv")).read_text()


def test_the_api_works_behind_its_doors(box: Box) -> None:
    assert services.python(box, _ASK) == "1\n"
    found = health(box)
    assert [fault for fault in found["faults"] if fault["name"] != "runs"] == []  # Airflow is on its way
    assert show(box, "appliance-api", "StatusText").startswith(f"Serving {services.PROFILE} ")
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
dropped = data / "raw_data/{services.PROFILE}/mill-1/proof.csv.part"
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
token = Path("/var/tmp/token").read_text()
answered, end = 0, time.monotonic() + 25
while time.monotonic() < end:
    with Client(Path("/run/appliance/api.sock"), token) as api:
        answered += api.predict_rows([{ROW!r}], profile="{services.PROFILE}", machine="mill-1")["rows"]["predicted"]
print(answered)
"""
    told: list[str] = []
    before = int(rows(box, "SELECT count(*) FROM prediction")[0])
    asking = threading.Thread(target=lambda: told.append(services.python(box, script)))
    asking.start()
    for _ in range(2):
        time.sleep(3)
        box.run("systemctl restart appliance-api", seconds=120)
    asking.join()
    assert int(told[0]) > 2
    assert int(rows(box, "SELECT count(*) FROM prediction")[0]) - before == int(told[0])


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_an_api_that_ended_or_hangs_is_started_anew(box: Box, signal: str) -> None:
    box.run("mkdir -p /run/systemd/system/appliance-api.service.d")
    box.run("cat > /run/systemd/system/appliance-api.service.d/99-soon.conf", given="[Service]\nWatchdogSec=6\n")
    box.run("systemctl daemon-reload && systemctl restart appliance-api", seconds=120)
    before = show(box, "appliance-api", "MainPID")
    box.run(f"kill -{signal} {before}")
    host.wait_for(lambda: show(box, "appliance-api", "MainPID") not in ("0", before), 60, "it was not started anew")
    assert services.python(box, _ASK) == "1\n"


def test_the_api_outlives_its_database(box: Box) -> None:
    before = show(box, "appliance-api", "MainPID")
    box.run("systemctl stop postgresql")
    assert "database" in names(health(box))
    box.run("sleep 12")  # two turns of the watchdog, which has no business with the database
    assert show(box, "appliance-api", "MainPID") == before
    box.run("systemctl start postgresql")
    host.wait_for(lambda: "database" not in names(health(box)), 30, "it did not find its database again")
    assert show(box, "appliance-api", "MainPID") == before


def test_files_travel_through_airflow_and_the_api(box: Box, tmp_path: Path) -> None:
    await_active(box, "appliance-airflow-init", "appliance-airflow-api", "appliance-airflow-scheduler")
    services.drop(box, "mill-7", "first.csv", csv(7, tmp_path))
    host.wait_for(lambda: predicted(box) > 0, 300, "no part was predicted")
    good = int(rows(box, "SELECT sum(rows_good) FROM file")[0])
    assert predicted(box) == good > 0
    assert box.run(f"ls /var/lib/appliance/raw_data/{services.PROFILE}/mill-7").out == ""


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


def test_after_a_power_cut_everything_is_back_and_goes_on(box: Box, tmp_path: Path) -> None:
    before = predicted(box)
    services.drop(box, "mill-8", "second.csv", csv(8, tmp_path))
    box.power_cut()
    box.start()
    await_active(box, "appliance.target", "appliance-api.socket", "appliance-airflow-scheduler")
    host.wait_for(lambda: predicted(box) > before, 300, "nothing is predicted")
    assert predicted(box) == int(rows(box, "SELECT sum(rows_good) FROM file")[0])
    state, failed = box.state()
    assert (state, failed) == ("running", [])
    assert "fault" not in [fault["severity"] for fault in health(box)["faults"]]


def test_the_target_ends_and_starts_all_of_it(box: Box) -> None:
    box.run("systemctl stop appliance.target", seconds=180)
    alive = "systemctl list-units --plain --no-legend --state=active,activating 'appliance*'"
    host.wait_for(lambda: box.run(alive).out == "", 120, f"it lives on: {box.run(alive).out}")
    box.run("systemctl start appliance.target", seconds=400)
    await_active(box, "appliance-airflow-api", "appliance-airflow-scheduler")
    assert services.python(box, _ASK) == "1\n"
