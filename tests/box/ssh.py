"""The way into a box: OpenSSH with keys that live as long as the box does."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.box import host
from tests.box.disk import Disk
from tests.box.host import BoxError, call


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


class Ssh:
    """Programs and files in the box at ``address``. ``folder`` holds the keys, which :func:`admit` made."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.key = folder / "key"
        self._known = folder / "known_hosts"

    @property
    def options(self) -> list[str]:
        """What ssh, sftp and Ansible have to be told; nothing of this machine's own settings is read."""
        said = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self._known,
            "BatchMode": "yes",
            "ConnectTimeout": 5,
            "ServerAliveInterval": 5,
            "ServerAliveCountMax": 3,
            "LogLevel": "ERROR",
        }
        return ["-F", "/dev/null", *(word for name, value in said.items() for word in ("-o", f"{name}={value}"))]

    def run(self, command: str, *, user: str, given: str, seconds: float) -> Result:
        """Run a line of shell. A line that ends with 255 cannot be told from a connection that broke."""
        try:
            done = subprocess.run(
                ["ssh", *self.options, f"{user}@{self.address}", command],
                input=given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                env=host.environment(),
            )
        except subprocess.TimeoutExpired:
            raise BoxError(f"{command[:200]} did not end within {seconds:g} s") from None
        return Result(done.returncode, done.stdout, done.stderr)

    def copy(self, *batch: str, user: str, seconds: float) -> None:
        """Carry out lines of sftp."""
        lines = "".join(f"{line}\n" for line in batch)
        call("sftp", *self.options, "-b", "-", f"{user}@{self.address}", given=lines, seconds=seconds)

    def greets(self) -> bool:
        """Whether something answers where ssh should."""
        try:
            with socket.create_connection((self.address, 22), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


def admit(address: str, folder: Path, disk: Disk, users: tuple[str, ...] = ("root", "admin")) -> Ssh:
    """Make keys of the box and of who enters it, and put them where each side looks for them."""
    for name in ("key", "host_key"):
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", folder.name, "-f", folder / name)
    known = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"{address} {known[0]} {known[1]}\n")
    _install(disk.root / "etc/ssh/ssh_host_ed25519_key", folder / "host_key", disk.root)
    _install(disk.root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host_key.pub", disk.root)
    for user in users:
        home = Path("root") if user == "root" else Path("home") / user
        _install(disk.root / home / ".ssh/authorized_keys", folder / "key.pub", disk.root / home)
    return Ssh(address, folder)


def _install(path: Path, source: Path, like: Path) -> None:
    """A private copy that belongs to whom ``like`` belongs to."""
    owner = like.stat()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(source.read_bytes())
    for made in (path, path.parent):
        if made.is_relative_to(like) and made != like:
            call("chown", f"{owner.st_uid}:{owner.st_gid}", made)
