"""One command makes a fresh Debian the appliance, and what it made keeps its promises through whatever happens.

The tests of this module are one story on one box and run in this order. It is a copy of the one that was set up for all
tests of the session.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.box import host, made
from tests.box.box import Box
from tests.box.installed import ROWS, Installed
from tests.box.playbook import NAMES, Playbook

pytestmark = pytest.mark.box

POWER_CUTS = int(os.environ.get("APPLIANCE_BOX_POWER_CUTS") or "3")
SEED = int(os.environ.get("APPLIANCE_BOX_SEED") or random.randrange(10**6))
# What may listen, and where: everything else is a fault. A socket of 127.0.0.1 is for programs of the box.
DECLARED = {"0.0.0.0:22", "[::]:22", "*:443", "*:80", "127.0.0.1:8080", "127.0.0.1:8501"}
SERVICES = (
    "appliance-api",
    "appliance-airflow-api",
    "appliance-airflow-scheduler",
    "postgresql@*",
)
# The first was dropped when the box was set up.
HAND_OVER = {"files": 1}


@pytest.fixture(scope="module")
def playbook(installed: Installed, desk: Path) -> Iterator[Playbook]:
    with Box.made(installed.image) as box:
        box.start()
        made.back(box)
        yield Playbook(box, desk, **NAMES)


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


@pytest.fixture
def drop_some(playbook: Playbook, box: Box, tmp_path: Path) -> Callable[[int], None]:
    """Drops that many new files, one after the other, from as many machines."""

    def some(count: int) -> None:
        for _ in range(count):
            file = new_file(tmp_path)
            made.drop(box, playbook.machine_key, file, f"mill-{HAND_OVER['files'] % 3}")

    return some


def new_file(folder: Path) -> Path:
    HAND_OVER["files"] += 1
    return made.write(folder, HAND_OVER["files"], ROWS)


def exact(box: Box) -> None:
    """Everything that was dropped is in the books, once, and is predicted."""
    made.settled(box, HAND_OVER["files"])
    assert made.count(box, "SELECT sum(rows_in) FROM file") == HAND_OVER["files"] * ROWS
    assert made.predicted(box) == made.count(box, "SELECT sum(rows_good) FROM file")


def test_a_look_at_a_fresh_machine_changes_nothing(installed: Installed) -> None:
    counts = installed.look.counts
    assert counts["failed"] == counts["unreachable"] == 0
    assert installed.touched == "/opt:\n"


def test_one_command_and_a_dropped_file_is_predicted(installed: Installed) -> None:
    print(
        f"\nfresh Debian to appliance: {installed.minutes:.1f} min;"
        f" dropped file to prediction: {installed.minutes_to_prediction:.1f} min"
    )
    assert installed.first.counts["failed"] == 0
    assert installed.raw == ""  # what is in the books is taken out of the drop folder


def test_a_second_run_changes_nothing_and_a_look_finds_nothing_to_change(playbook: Playbook, box: Box) -> None:
    again = playbook.run()
    assert (again.changes, again.counts["changed"], again.counts["failed"]) == ([], 0, 0)
    look = playbook.run("--check", "--diff")
    assert (look.changes, look.counts["changed"], look.counts["failed"]) == ([], 0, 0)


def test_the_commands_find_nothing_wrong(box: Box) -> None:
    assert "No fault found" in box.run("appliance doctor", user="admin").out
    assert "Model milling" in box.run("appliance status", user="admin").out
    assert box.state() == ("running", [])
    told = box.run("appliance doctor --network", check=False).out
    assert "port 123/udp: time" in told


def test_nothing_listens_but_what_is_declared(box: Box) -> None:
    listening = {line.split()[4] for line in box.run("ss -Hltun").out.splitlines()}
    assert listening <= DECLARED, listening - DECLARED
    box.run("systemd-run --quiet --unit=stray python3 -m http.server 8099")
    box.run("sleep 1; curl --version >/dev/null 2>&1; ss -Hltn sport = 8099 | grep -q 8099")
    try:
        with pytest.raises(OSError):  # noqa: PT011 - refused or timed out, it does not matter
            urllib.request.urlopen(f"http://{box.address}:8099", timeout=3)
    finally:
        box.run("systemctl stop stray")


def test_no_secret_is_to_be_seen(playbook: Playbook, box: Box) -> None:
    said = (playbook.folder / "playbook.log").read_text() + box.run(
        "journalctl --no-pager --all --merge --output=cat", seconds=120
    ).out
    argv = box.run("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'", check=False).out
    names = box.run("find /etc/appliance/secrets -type f").out.split()
    assert len(names) == 6
    for name in names:
        secret = box.run(f"cat {name}").out.strip()
        if name.endswith(("notify_targets", "s3_keys")):
            assert secret == ""  # the owner gave none
            continue
        assert len(secret) >= 32
        assert secret not in said, name
        assert secret not in argv, name
        assert box.run(f"grep -rlF --exclude-dir=secrets -- {secret!r} /etc /opt/appliance/current/etc /var/log /var/lib/appliance", check=False).out == ""  # fmt: skip
    assert box.run("find /etc/appliance/secrets -perm /077").out == ""
    for name in ("/etc/appliance/secrets", "/var/lib/appliance/airflow", "/var/lib/appliance/work"):
        assert box.run(f"runuser -u nobody -- ls {name}", check=False).code != 0, name
    assert "signing.key" not in box.run("find / -xdev -name '*.key' -path '*applianc*'").out


def test_only_who_takes_files_in_writes_work(box: Box) -> None:
    for user in ("appliance", "machines", "postgres", "nobody", "admin"):
        done = box.run(f"runuser -u {user} -- touch /var/lib/appliance/work/proof", check=False)
        assert done.code != 0, user
    assert box.run("runuser -u airflow -- sh -c 'cd /var/lib/appliance/work && touch proof && rm proof'").code == 0
    for secret in ("airflow_fernet_key", "airflow_jwt_secret", "airflow_secret_key"):
        assert box.run(f"runuser -u appliance -- cat /etc/appliance/secrets/appliance_{secret}", check=False).code != 0


def test_machines_drop_files_and_can_do_nothing_else(playbook: Playbook, box: Box) -> None:
    as_machine = [*box.door.options, "-o", f"IdentityFile={playbook.machine_key}"]
    done = subprocess.run(
        ["ssh", *as_machine, f"machines@{box.address}", "id"], capture_output=True, text=True, timeout=30
    )
    assert "uid=" not in done.stdout
    listed = subprocess.run(
        ["sftp", *as_machine, "-b", "-", f"machines@{box.address}"],
        input="ls /\n", capture_output=True, text=True, timeout=30,
    ).stdout  # fmt: skip
    assert [line for line in listed.split() if not line.startswith("sftp>")][-1:] in (["milling"], ["/milling"])


def test_it_goes_on_without_a_network(box: Box, drop_some: Callable[[int], None]) -> None:
    box.cut_internet()
    try:
        drop_some(1)
        exact(box)
        assert "No fault found" in box.run("appliance doctor").out
        assert "cannot be resolved" in box.run("appliance doctor --network", check=False).out
    finally:
        box.restore_internet()


def test_after_a_reboot_all_is_back_without_a_person(box: Box) -> None:
    began = time.monotonic()
    box.reboot()
    made.back(box)
    print(f"\nreboot to everything back: {time.monotonic() - began:.0f} s (aim: 90)")
    assert box.state() == ("running", [])


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_that_is_killed_comes_back(box: Box, unit: str, drop_some: Callable[[int], None]) -> None:
    drop_some(1)
    before = box.run(f"systemctl show --property MainPID --value '{unit}'").out.strip()
    box.run(f"systemctl kill --signal=KILL '{unit}'")
    made.back(box)
    assert box.run(f"systemctl show --property MainPID --value '{unit}'").out.strip() not in ("0", before)


def test_a_minute_without_the_database_is_made_up_for(box: Box, drop_some: Callable[[int], None]) -> None:
    api = box.run("systemctl show --property MainPID --value appliance-api").out
    box.run("systemctl stop postgresql")
    began = time.monotonic()

    def says_so() -> bool:
        status, found = made.ready(box)
        return status == 503 and "database" in str(found)

    # It may answer what it knew some seconds ago.
    host.wait_for(says_so, 15, "the API does not miss the database")
    drop_some(1)
    time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    box.run("systemctl start postgresql")
    made.back(box)
    exact(box)
    # Its watchdog has no business with the database.
    assert box.run("systemctl show --property MainPID --value appliance-api").out == api


def test_power_cuts_while_files_stream_in_lose_and_double_nothing(playbook: Playbook, box: Box, tmp_path: Path) -> None:
    chance, over = random.Random(SEED), threading.Event()
    print(f"\n{POWER_CUTS} power cuts, APPLIANCE_BOX_SEED={SEED}")

    def stream() -> None:
        while not over.is_set():
            file = new_file(tmp_path)
            # A machine tries until its file has gone; what came already is known by its content.
            while True:
                try:
                    made.drop(box, playbook.machine_key, file, "mill-1")
                    break
                except (subprocess.SubprocessError, OSError):
                    time.sleep(1)
            time.sleep(2)

    machine = threading.Thread(target=stream)
    machine.start()
    try:
        for _ in range(POWER_CUTS):
            time.sleep(chance.uniform(5, 50))
            box.power_cut()
            box.start()
    finally:
        over.set()
        machine.join(120)
    made.back(box)
    exact(box)
    assert box.state() == ("running", [])
