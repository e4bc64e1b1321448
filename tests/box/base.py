"""The base image: a fresh Debian as an installer leaves it, made once and kept outside of the checkout."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Literal, get_args

from tests.box import host, sources
from tests.box.disk import Image
from tests.box.host import CACHE, BoxError, Lacking, call
from tests.box.sources import Sources

Release = Literal["bookworm", "trixie"]
NUMBERS: dict[str, Release] = {"12": "bookworm", "13": "trixie"}

# What every Debian server has; all else is for the playbook to install.
_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "python3", "sudo", "openssh-server", "iproute2", "ca-certificates",
)  # fmt: skip
_UNITS_ON = ("systemd-networkd.service", "ssh.service")
# Updates at a moment of their own would hold the lock of packages in the middle of a test.
_UNITS_NEVER = ("apt-daily.timer", "apt-daily-upgrade.timer", "systemd-networkd-wait-online.service")
_FILES = {
    "etc/hostname": "appliance-box\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 appliance-box\n::1 localhost\n",
    "etc/resolv.conf": "",
    # Empty, not away: the box gets an identity of its own, and does not take this for its very first start.
    "etc/machine-id": "",
    "etc/sudoers.d/admin": "admin ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/box.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\n",
}
_LEFT_OVER = ("etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/lib/dbus/machine-id")
_FORGET_AFTER_DAYS = 30


def release_of(number: str) -> Release:
    """The release that Debian's number or name stands for."""
    if number in get_args(Release):
        return number  # type: ignore[return-value]
    if number not in NUMBERS:
        raise BoxError(f"there is no recipe for Debian {number!r}: say one of {', '.join(NUMBERS)}")
    return NUMBERS[number]


def image(release: Release) -> Image:
    """The base image, made if it is not there (about a minute). Nobody writes to it."""
    found = sources.of_this_machine(release)
    folder = CACHE / f"{release}-{_recipe(release, found)}"
    with host.locked(f"image-{release}"):
        if not folder.is_dir():
            part = folder.with_name(f"{folder.name}.part")
            host.remove(part)
            _make(part, release, found)
            part.rename(folder)
        os.utime(folder)
        _forget_old()
    return (folder,)


def _recipe(release: Release, found: Sources) -> str:
    whole = repr((release, _PACKAGES, _UNITS_ON, _UNITS_NEVER, _FILES, found)).encode()
    return hashlib.sha256(whole).hexdigest()[:12]


def _make(root: Path, release: Release, found: Sources) -> None:
    root.mkdir(parents=True)
    source = [found.mirror] if found.mirror else []
    # By itself it would try for hours.
    patience = root.with_suffix(".wgetrc")
    patience.write_text("timeout = 20\ntries = 2\n")
    try:
        call(
            *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", release, root, *source),
            seconds=900,
            more={"WGETRC": str(patience)},
        )
    except BoxError as error:
        host.remove(root)
        said = str(error).rstrip().rpartition("\n")[2]
        raise Lacking(f"a box needs Debian's packages, which this machine cannot get at ({said})") from None
    finally:
        patience.unlink()
    for name, content in {**found.files, **{name: text.encode() for name, text in _FILES.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "etc/sudoers.d/admin").chmod(0o440)
    call("chroot", root, "update-ca-certificates")
    call("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "admin")
    call("chroot", root, "systemctl", "enable", *_UNITS_ON)
    call("chroot", root, "systemctl", "mask", *_UNITS_NEVER)
    for pattern in _LEFT_OVER:
        for path in root.glob(pattern):
            path.unlink()


def _forget_old() -> None:
    """Images of recipes that nobody uses any more."""
    for path in CACHE.glob("*-*"):
        old = time.time() - path.stat().st_mtime > _FORGET_AFTER_DAYS * 86400
        if old and path.name.startswith(get_args(Release)) and path.is_dir() and not host.mounts_below(path):
            host.remove(path)
