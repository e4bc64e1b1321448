"""Whether the machine that runs the tests permits boxes at all; what it refuses, with the way out."""

from __future__ import annotations

import os
import shutil

from tests.box.host import CACHE, BoxError, Lacking, call, path, unified

# Command -> the Debian package that brings it.
_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "curl": "curl",
}
# What a container in place of a machine, or a small kernel, refuses even to root. A probe leaves nothing behind.
_NAMESPACES = "unshare --mount --pid --net --ipc --uts --cgroup --fork true"
_RULES = "unshare --net nft 'add table ip probe; add chain ip probe out { type nat hook postrouting priority 100; }'"
_CABLE = "unshare --net ip link add probe0 type veth peer name probe1"
_GROUPS = 'mkdir "$1/fab-probe-$$" && rmdir "$1/fab-probe-$$"'
_LAYERS = """set -e
at=$(mktemp --directory --tmpdir="$2" probe-XXXXXX)
trap 'rm -r "$at"' EXIT
cd "$at"
mkdir low up work top
unshare --mount mount -t overlay probe -o lowerdir=low,upperdir=up,workdir=work top
"""
_PROBES = {
    "namespaces": _NAMESPACES,
    "rules of nftables": _RULES,
    "a cable": _CABLE,
    "control groups of its own": _GROUPS,
    "layers above an image": _LAYERS,
}


def check() -> None:
    """Lacking, with the way out, where no box can run here."""
    if os.geteuid() != 0:
        raise Lacking("a box is booted as root: sudo make test-box")
    lacking = [package for tool, package in _TOOLS.items() if shutil.which(tool, path=path()) is None]
    if lacking:
        raise Lacking(f"a box needs more programs: apt-get install {' '.join(lacking)}")
    if not (unified() / "cgroup.procs").exists():
        raise Lacking("a box needs the second version of control groups, which this machine does not mount")
    CACHE.mkdir(parents=True, exist_ok=True)
    for what, probe in _PROBES.items():
        try:
            call("sh", "-c", probe, "sh", unified(), CACHE)
        except BoxError as error:
            said = str(error).rpartition(": ")[2].strip()
            raise Lacking(f"a box needs {what}, which this machine does not permit ({said})") from None
