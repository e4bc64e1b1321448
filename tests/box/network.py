"""The network of a box: one cable to this machine, which forwards and masquerades while the box may reach the internet.

The rules stand in a table of the box's own name and nothing of the box can open a connection to this machine, so the
two share nothing but the cable.
"""

from __future__ import annotations

import ipaddress
import random
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.box import host
from tests.box.host import BOXES, CACHE, BoxError, call

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# One file for each box that needs forwarding, and what the kernel was set to before the first of them.
_WANTED = CACHE / "forwarding"
_BEFORE = CACHE / "forwarding-before"
_POOLS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_PREFIX = 30
_LAST_RESORT = "4278"
_RESOLVERS = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


class Cable:
    """Both ends of a box's cable: ``near`` on this machine, ``far`` in the box."""

    def __init__(self, name: str, network: IPv4Network) -> None:
        self.name = name
        self.network = network
        self.near, self.far = (str(address) for address in network.hosts())
        self.interface = f"ve-{name}"
        self.table = name.replace("-", "_")

    def files(self) -> dict[str, str]:
        """What makes the box take its address at each start."""
        return {
            "etc/systemd/network/10-host0.network": (
                "[Match]\nName=host0\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
                f"Address={self.far}/{_PREFIX}\nGateway={self.near}\n"
            ),
            "etc/resolv.conf": "".join(f"nameserver {address}\n" for address in _resolvers()),
        }

    def keep_in(self) -> None:
        """Let this machine send nothing elsewhere that is meant for the box, while the cable is out."""
        call("ip", "route", "replace", "unreachable", str(self.network), "metric", _LAST_RESORT)

    def plug(self, seconds: float = 20) -> None:
        """Give this machine's end its address, as soon as the box has put it there."""
        settings = Path("/proc/sys/net/ipv6/conf") / self.interface
        host.wait_for(
            lambda: Path("/sys/class/net", self.interface).exists(), seconds, f"{self.interface} did not appear"
        )
        with suppress(OSError):
            (settings / "disable_ipv6").write_text("1")
        call("ip", "address", "replace", f"{self.near}/{_PREFIX}", "dev", self.interface)
        call("ip", "link", "set", self.interface, "up")

    def open(self) -> None:
        """Let the box reach what this machine reaches, except for other boxes."""
        _forward(self.name, wanted=True)
        self._rules(
            f"chain out {{ type nat hook postrouting priority 100;"
            f' ip saddr {self.network} oifname != "{self.interface}" masquerade; }}\n'
            f"chain through {{ type filter hook forward priority 0;"
            f' iifname "{self.interface}" oifname "ve-{host.PREFIX}*" drop; }}'
        )

    def cut(self) -> None:
        """Let nothing pass between the box and anything but this machine."""
        self._rules(
            f"chain through {{ type filter hook forward priority 0;"
            f' iifname "{self.interface}" drop; oifname "{self.interface}" drop; }}'
        )
        _forward(self.name, wanted=False)

    def _rules(self, more: str) -> None:
        call(
            *("nft", "-f", "-"),
            given=(
                f"table ip {self.table}\ndelete table ip {self.table}\ntable ip {self.table} {{\n"
                f"chain near {{ type filter hook input priority 0;"
                f' iifname "{self.interface}" ct state established,related accept; iifname "{self.interface}" drop; }}\n'
                f"{more}\n}}\n"
            ),
        )

    def remove(self) -> None:
        """Leave no rule, route or interface behind, and forwarding as it was found."""
        with suppress(BoxError):
            call("nft", "delete", "table", "ip", self.table)
        with suppress(BoxError):
            call("ip", "route", "delete", "unreachable", str(self.network), "metric", _LAST_RESORT)
        _forward(self.name, wanted=False)
        end = Path("/sys/class/net", self.interface)
        with suppress(BoxError):  # it goes with the box's own end, a moment after the last process
            host.wait_for(lambda: not end.exists(), 5, f"{self.interface} stays")
        if end.exists():
            call("ip", "link", "delete", self.interface)


def pick(name: str, folder: Path) -> Cable:
    """A cable in a network that no route of this machine and no other box knows; noted in the folder of the box."""
    with host.locked("network"):
        taken = [*_routes(), *(network for box in BOXES.glob(f"{host.PREFIX}*") if (network := _noted(box)))]
        taken += [IPv4Network(address) for address in _resolvers()]
        for _ in range(1000):
            pool = IPv4Network(random.choice(_POOLS))
            at = random.randrange(0, pool.num_addresses, 2 ** (32 - _PREFIX))
            network = IPv4Network((int(pool.network_address) + at, _PREFIX))
            if not any(network.overlaps(other) for other in taken):
                (folder / "network").write_text(str(network))
                return Cable(name, network)
    raise BoxError("no private network is free on this machine")


def of(folder: Path) -> Cable | None:
    """The cable of a box that is there, by its folder."""
    network = _noted(folder)
    return Cable(folder.name, network) if network else None


def _noted(folder: Path) -> IPv4Network | None:
    try:
        return IPv4Network((folder / "network").read_text())
    except (OSError, ValueError):
        return None


def _routes() -> list[IPv4Network]:
    words = (line.split() for line in call("ip", "-4", "route", "show", "table", "all").splitlines())
    found = []
    for line in words:
        where = line[1] if line[0] in ("local", "broadcast", "unreachable", "blackhole", "prohibit") else line[0]
        if where != "default":
            found.append(ipaddress.IPv4Network(where, strict=False))
    return found


def _resolvers() -> list[str]:
    """Name servers that a box can reach too, so not one on this machine's loopback."""
    for path in _RESOLVERS:
        with suppress(OSError):
            words = [line.split() for line in Path(path).read_text().splitlines()]
            listed = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
            if usable := [address for address in listed if _usable(address)]:
                return usable
    return []


def _usable(address: str) -> bool:
    try:
        return not IPv4Address(address).is_loopback
    except ValueError:
        return False


def _forward(name: str, *, wanted: bool) -> None:
    """Forward while any box wants it; afterwards the kernel is set as it was before the first."""
    with host.locked("forwarding"):
        _WANTED.mkdir(exist_ok=True)
        if wanted:
            if not any(_WANTED.iterdir()):
                _BEFORE.write_text(_FORWARD.read_text())
            (_WANTED / name).touch()
            _FORWARD.write_text("1")
            return
        (_WANTED / name).unlink(missing_ok=True)
        if not any(_WANTED.iterdir()) and _BEFORE.exists():
            _FORWARD.write_text(_BEFORE.read_text())
            _BEFORE.unlink()
