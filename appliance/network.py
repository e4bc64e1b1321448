"""What this box talks to outside of itself, so that a plant's firewall can allow that and nothing else.

Nothing is here that the owner did not enable: message targets, the bucket, time, updates of the system. Each can be tried.
"""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from appliance import notify_targets
from appliance.settings import Settings

NTP_PORT = 123
_TRY_SECONDS = 5.0
_ASK_SECONDS = 10
_CHRONY = ("chrony.conf", "conf.d/*.conf", "sources.d/*.sources")
_APT = ("sources.list", "sources.list.d/*.list", "sources.list.d/*.sources")
# Links for people in Apprise's own descriptions of its services; nothing is sent there.
_NOT_SENT_TO = ("service_url", "setup_url", "webhook_gov_url")


@dataclass(frozen=True, slots=True)
class Destination:
    what: str
    host: str
    port: int
    protocol: Literal["tcp", "udp"]

    def sentence(self) -> str:
        return f"{self.host} port {self.port}/{self.protocol}: {self.what}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def destinations(settings: Settings, etc: Path = Path("/etc")) -> list[Destination]:
    """Everything that the settings and the system make this box connect to; each host and port once."""
    found: dict[tuple[str, int, str], Destination] = {}
    for destination in (*_messages(settings), *_bucket(settings), *_time(etc), *_updates(etc)):
        found.setdefault((destination.host, destination.port, destination.protocol), destination)
    return list(found.values())


def trouble(destination: Destination, seconds: float = _TRY_SECONDS) -> str:
    """'' where it can be reached from here, else why not."""
    try:
        if destination.protocol == "udp":
            return _ask_time(destination, seconds)
        with socket.create_connection((destination.host, destination.port), timeout=seconds):
            return ""
    except socket.gaierror:
        return "its name cannot be resolved"
    except TimeoutError:
        return "it does not answer: a firewall may drop it"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _ask_time(destination: Destination, seconds: float) -> str:
    """An SNTP request (RFC 4330): who answers with 48 bytes or more in mode 4 is a time server."""
    family, kind, protocol, _, where = socket.getaddrinfo(
        destination.host, destination.port, type=socket.SOCK_DGRAM, proto=socket.IPPROTO_UDP
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.settimeout(seconds)
        probe.connect(where)
        probe.send(b"\x23" + 47 * b"\0")
        answer = probe.recv(512)
    return "" if len(answer) >= 48 and answer[0] & 7 == 4 else "what answers there is no time server"


def _messages(settings: Settings) -> Iterator[Destination]:
    if settings.notify_targets is None:
        return
    targets, _ = notify_targets.read(settings)
    for target in targets:
        plugin = _plugin(target.url)
        if plugin is None:
            continue  # the check of the messages says so
        for host, port in sorted(_hosts(plugin)):
            yield Destination(f"messages by {target.scheme}", host, port, "tcp")


def _bucket(settings: Settings) -> Iterator[Destination]:
    if settings.s3_bucket is None:
        return
    if settings.s3_endpoint is None:
        region = settings.s3_region or "us-east-1"
        yield Destination("copies in S3", f"{settings.s3_bucket}.s3.{region}.amazonaws.com", 443, "tcp")
        return
    parts = urlsplit(settings.s3_endpoint)
    if parts.hostname:
        yield Destination("copies in S3", parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), "tcp")


def _plugin(url: str) -> Any:
    """Apprise's object for the URL, None where it cannot read it; said to nobody, for it logs URLs with their secrets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise  # with its 150 services it takes a second, which only this needs
        from apprise.logger import logger

        logger.propagate = False
        logger.addHandler(logging.NullHandler())
        return apprise.Apprise.instantiate(url)


def _hosts(plugin: Any) -> set[tuple[str, int]]:
    """Where a plugin sends to: a mail server, the service that its code names, or the host of its address."""
    secure = bool(getattr(plugin, "secure", False))
    if mail := getattr(plugin, "smtp_host", None):
        return {(mail, plugin.port or (587 if secure else 25))}
    named = {**vars(type(plugin)), **vars(plugin)}
    urls = (
        value
        for name, value in named.items()
        if name.endswith("url") and name not in _NOT_SENT_TO and isinstance(value, str)
    )
    services = {(parts.hostname, parts.port or 443) for parts in map(urlsplit, urls) if parts.hostname}
    # Some services can be the owner's own server as well.
    if services and getattr(plugin, "mode", "") != "private":
        return services
    return {(plugin.host, plugin.port or (443 if secure else 80))}


def _time(etc: Path) -> Iterator[Destination]:
    chrony = re.findall(r"(?m)^\s*(?:server|pool|peer)\s+(\S+)", "\n".join(_texts(etc / "chrony", _CHRONY)))
    for host in chrony or _timesyncd():
        yield Destination("time", host, NTP_PORT, "udp")


def _timesyncd() -> list[str]:
    """The servers that systemd's own time service would ask."""
    names = ("LinkNTPServers", "SystemNTPServers", "FallbackNTPServers")
    command = ["timedatectl", "show-timesync", *(f"--property={name}" for name in names)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    given = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    # A later kind is asked only where the one before is empty.
    return next((given[name].split() for name in names if given.get(name)), [])


def _updates(etc: Path) -> Iterator[Destination]:
    for text in _texts(etc / "apt", _APT):
        lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for url in re.findall(r"https?://[^\s\]]+", lines):
            parts = urlsplit(url)
            if parts.hostname:
                port = parts.port or (443 if parts.scheme == "https" else 80)
                yield Destination("updates of the system", parts.hostname, port, "tcp")


def _texts(folder: Path, patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            try:
                yield path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # what only root may read is told to root
