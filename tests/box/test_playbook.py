"""One command makes a fresh Debian the appliance, and what it made is closed to whom it should be.

The tests of this module are one story on one box and run in this order. It is a copy of the one that was set up for all
tests of the session.
"""

from __future__ import annotations

import subprocess
import urllib.request

import pytest

from tests.box.box import Box
from tests.box.installed import Installed
from tests.box.playbook import Playbook

pytestmark = pytest.mark.box

# What may listen, and where: everything else is a fault. A socket of 127.0.0.1 is for programs of the box.
DECLARED = {"0.0.0.0:22", "[::]:22", "*:443", "*:80", "127.0.0.1:8080", "127.0.0.1:8501"}


@pytest.fixture(scope="module")
def box(playbook: Playbook) -> Box:
    return playbook.box


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
