"""Runs one box until it halts or loses power, plugs its cable in at each boot, and ends it with the session it is of.

``python -m tests.box.keeper FOLDER ROOT`` with the session at the other end of its standard input. It is a process of
its own so that a box may reboot itself, and so that a session that is killed leaves no box behind.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.box import host, leftovers, network
from tests.box.network import Cable

_REBOOT = 133  # how systemd-nspawn ends where its box wishes to start again
PID = "nspawn.pid"
LOG = "console.log"


def main() -> None:
    folder, root = Path(sys.argv[1]), Path(sys.argv[2])
    cable = network.of(folder)
    assert cable is not None
    boots = 0
    while _boot(folder, root, cable, boots) == _REBOOT:
        boots += 1


def _boot(folder: Path, root: Path, cable: Cable, boots: int) -> int:
    """One life of the box, from its start to its end."""
    groups = [hierarchy / folder.name / f"boot{boots}" for hierarchy in host.cgroups()]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            _command(folder, root, groups),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=host.environment() | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        (folder / PID).write_text(str(process.pid))
        try:
            cable.plug()
        except host.BoxError as error:
            log.write(f"{error}\n".encode())
        return _follow(process, folder)


def _command(folder: Path, root: Path, groups: list[Path]) -> list[str]:
    enter = "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
    downloads = host.CACHE / "downloads"
    downloads.mkdir(exist_ok=True)
    return [
        *("sh", "-c", f'{enter}exec "$@"', "sh", "systemd-nspawn", "--boot", "--register=no", "--keep-unit"),
        *("--settings=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only"),
        *(f"--directory={root}", f"--machine={folder.name}", "--hostname=appliance-box", "--network-veth"),
        f"--bind={downloads}:/var/cache/box",
    ]


def _follow(process: subprocess.Popen[bytes], folder: Path) -> int:
    """How the box ended; where the session ends before it, so does everything of the box."""
    ended = os.pidfd_open(process.pid)
    ready, _, _ = select.select([ended, sys.stdin], [], [])
    if ended in ready:
        return process.wait()
    if folder.exists():
        with leftovers.owning(folder, wait=True):
            leftovers.put_away(folder)
    process.wait()
    return 0


if __name__ == "__main__":
    main()
