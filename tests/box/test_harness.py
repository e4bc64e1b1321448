"""The harness keeps its own promises: a box is a machine apart, loses power when told, and leaves nothing behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.box import host, leftovers, network
from tests.box.box import Box
from tests.box.disk import Image
from tests.box.host import BOXES, BoxError, call

pytestmark = pytest.mark.box

_HERE = Path(__file__).parents[2]


def traces(name: str, subnet: str) -> list[str]:
    """Everything on this machine that bears a box's name, or leads to its network."""
    found = [str(group) for group in (hierarchy / name for hierarchy in host.cgroups()) if group.exists()]
    found += [str(point) for point in host.mounts_below(BOXES / name)]
    found += [path.name for path in (Path("/sys/class/net", f"ve-{name}"), BOXES / name) if path.exists()]
    found += [line for line in call("nft", "list", "tables").splitlines() if name.replace("-", "_") in line]
    return found + call("ip", "route", "show", "root", subnet).splitlines()


def test_it_is_up_and_everything_in_it_is_well(box: Box) -> None:
    assert box.state() == ("running", [])
    assert box.run("cat /proc/1/comm").out == "systemd\n"
    assert "Debian" in box.run(". /etc/os-release; echo $NAME").out
    assert box.run("hostname").out == "appliance-box\n"


def test_a_line_that_fails_says_so_and_who_asks_gets_code_and_output(box: Box) -> None:
    with pytest.raises(BoxError, match=r"ended with 3: gone wrong"):
        box.run("echo gone wrong >&2; exit 3")
    done = box.run("cat; exit 4", check=False, given="told")
    assert (done.code, done.out) == (4, "told")


def test_an_administrator_who_is_not_root_becomes_root(box: Box) -> None:
    assert box.run("id -un; sudo id -un", user="admin").out == "admin\nroot\n"


def test_files_and_folders_go_in_and_come_out(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_bytes(bytes(range(256)))
    box.put(folder, "/root/")
    box.get("/root/a folder/below/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == bytes(range(256))


def test_no_port_is_shared_with_this_machine(box: Box) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", box.cable.near):
            done = box.run(f"timeout 2 bash -c 'echo > /dev/tcp/{address}/{port}'", check=False)
            assert done.code != 0, f"the box reached {address}"
    with socket.create_connection((box.address, 22), timeout=5):
        pass
    own = box.run("echo 'import socket, time; s = socket.create_server((\"127.0.0.1\", 4711)); print(1, flush=True);"
                  " time.sleep(60)' > /root/s.py; systemd-run --quiet python3 /root/s.py; sleep 1; ss -Hltn sport = 4711")  # fmt: skip
    assert "4711" in own.out
    with pytest.raises(OSError):  # noqa: PT011 - refused or timed out, it does not matter
        socket.create_connection(("127.0.0.1", 4711), timeout=2)


def test_packages_come_in_until_the_internet_is_cut(box: Box) -> None:
    update = "apt-get update -o Acquire::Retries=0 -o Acquire::http::Timeout=3 -o APT::Update::Error-Mode=any"
    index = "python3 -m pip download --quiet --no-deps --dest /tmp/wheels typing-extensions"
    box.run(update)
    box.run("apt-get install -y --no-install-recommends python3-pip", seconds=180)
    box.run(index)
    box.cut_internet()
    try:
        assert box.run(f"timeout 6 {update}", check=False).code != 0
        assert box.run(f"timeout 6 {index} --no-cache-dir --retries 0", check=False).code != 0
        assert box.run("echo still there").out == "still there\n"
    finally:
        box.restore_internet()
    box.run(update)


def test_its_network_is_one_that_this_machine_does_not_use(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [line.split()[0] for line in call("ip", "-4", "route").splitlines()]
    assert str(box.cable.network) in routes
    monkeypatch.setattr(network, "_POOLS", (str(box.cable.network),))
    with pytest.raises(BoxError, match="no private network is free"):
        network.pick("fab-none", box.folder)


def test_what_was_flushed_survives_a_power_cut_and_programs_do_not(fresh_box: Box) -> None:
    box = fresh_box
    write = "import os; f = open('/root/kept', 'w'); f.write('rows'); f.flush(); os.fsync(f.fileno())"
    box.run(f'python3 -c "{write}"')
    # Held in the program, as yet unwritten: what a power cut takes.
    lost = "import time; f = open('/root/lost', 'w'); f.write('rows'); time.sleep(600)"
    box.run(f'systemd-run --quiet --unit=writer python3 -c "{lost}"; sleep 1; test -e /root/lost')
    box.power_cut()
    assert not box.running
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection((box.address, 22), timeout=1)
    box.start()
    assert box.run("cat /root/kept; cat /root/lost").out == "rows"
    assert box.run("systemctl is-active writer", check=False).code != 0
    assert box.state() == ("running", [])


def test_it_comes_back_from_a_reboot_and_from_a_halt(fresh_box: Box) -> None:
    box = fresh_box
    box.run("touch /run/before /root/before; systemctl mask dbus.socket --quiet")
    box.reboot()
    assert box.run("ls /run/before /root/before", check=False).out == "/root/before\n"
    state, failed = box.state()
    assert (state, bool(failed)) in (("running", False), ("degraded", True))
    box.stop()
    assert not box.running
    box.start()
    assert box.run("journalctl --list-boots --no-pager -q | wc -l").out == "3\n"


def test_a_unit_that_fails_is_named(fresh_box: Box) -> None:
    fresh_box.run("systemd-run --unit=broken.service --remain-after-exit false; sleep 0.5")
    assert fresh_box.state() == ("degraded", ["broken.service"])


def test_nothing_is_left_of_a_box(image: Image) -> None:
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    with Box.made(image) as box:
        box.start()
        subnet = str(box.cable.network)
        assert len(traces(box.name, subnet)) >= 6
    assert traces(box.name, subnet) == []
    assert not leftovers.sweep()
    if not any(BOXES.iterdir()):  # another session's box may want it
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before


@pytest.mark.parametrize("keeper_too", [False, True])
def test_nothing_is_left_of_a_box_whose_session_was_killed(image: Image, keeper_too: bool) -> None:
    script = (
        "import sys, pathlib\nfrom tests.box.box import Box\n"
        "box = Box.made(tuple(map(pathlib.Path, sys.argv[1:])))\nbox.start()\n"
        "print(box.name, box.cable.network, box._keeper.pid, flush=True)\ninput()"
    )
    session = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, image)],
        cwd=_HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdin is not None
    assert session.stdout is not None
    name, subnet, keeper = session.stdout.readline().split()
    assert traces(name, subnet)
    assert leftovers.sweep() == []  # it has an owner
    if keeper_too:
        call("kill", "-KILL", keeper)
    session.kill()
    session.wait()
    session.stdin.close()
    session.stdout.close()
    if keeper_too:
        assert leftovers.sweep() == [name]
    host.wait_for(lambda: not traces(name, subnet), 30, f"left: {traces(name, subnet)}")


def test_a_box_may_become_the_image_of_others(image: Image, tmp_path: Path) -> None:
    with Box.made(image) as box:
        box.start()
        identity = box.run("cat /etc/machine-id; echo made > /root/kept; rm /root/.profile").out
        frozen = box.freeze(host.CACHE / f"{box.name}-frozen")
    try:
        with Box.made(frozen) as box:
            box.start()
            assert box.run("cat /root/kept; ls /root/.profile", check=False).out == "made\n"
            assert box.run("cat /etc/machine-id").out != identity
    finally:
        host.remove(frozen[0])


def test_two_boxes_do_not_see_each_other(box: Box, image: Image) -> None:
    with Box.made(image) as other:
        other.start()
        assert other.address != box.address
        done = box.run(f"timeout 2 bash -c 'echo > /dev/tcp/{other.address}/22'", check=False)
        assert done.code != 0
        other.power_cut()
        assert box.run("echo alive").out == "alive\n"
