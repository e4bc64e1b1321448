"""How this machine reaches package registries, so that a box on it reaches them the same way.

All of it goes into the throw-away image only: mirrors, proxies and authorities are this machine's own business.
Proxies on this machine's loopback are left out, because a box has a loopback of its own.
"""

from __future__ import annotations

import ast
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.box.host import call

_AUTHORITIES = Path("/usr/local/share/ca-certificates")
_APT_SETTINGS = Path("/etc/apt/apt.conf.d")
_APT_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
_PIP_WORDS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Sources:
    """``files`` are whole files of the image by path; ``mirror`` is where its first packages come from."""

    mirror: str | None
    files: dict[str, bytes]


def of_this_machine(release: str) -> Sources:
    """The sources of a Debian ``release`` as this machine would use them; Debian's own defaults where it is none."""
    files: dict[str, bytes] = {}
    lines = _apt_lines(release)
    if lines:
        files["etc/apt/sources.list"] = "".join(f"{line}\n" for line in lines).encode()
    for setting in sorted(_APT_SETTINGS.glob("*")):
        if "Acquire::" in (text := setting.read_text(errors="replace")):
            files[f"etc/apt/apt.conf.d/{setting.name}"] = text.encode()
    for authority in sorted(_AUTHORITIES.rglob("*.crt")):
        files[f"usr/local/share/ca-certificates/{authority.name}"] = authority.read_bytes()
    files |= _pip_files() | {"etc/environment": _environment().encode()}
    mirror = next((line.split()[1] for line in lines if line.split()[2] == release), None)
    return Sources(mirror, files)


def _apt_lines(release: str) -> list[str]:
    """Sources of this machine's own release, said for another one."""
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if platform.freedesktop_os_release().get("ID") != "debian" or not own:
        return []
    found: dict[str, None] = {}
    for line in call("apt-get", "indextargets", "--format", _APT_FORMAT, "Created-By: Packages").splitlines():
        uri, suite, component, *origin = line.split()
        if suite in (own, f"{own}-updates", f"{own}-security") and component == "main" and origin == ["Debian"]:
            found[f"deb {uri} {suite.replace(own, release, 1)} main"] = None
    return list(found)


def _pip_files() -> dict[str, bytes]:
    """Settings of pip and uv. What names a folder of this machine means nothing in a box."""
    known: dict[str, str] = {}
    for line in call(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        word = name.rpartition(".")[2]
        kept = [part for part in str(ast.literal_eval(value)).split() if not part.startswith(("/", "file:"))]
        if word in _PIP_WORDS and kept and not _on_loopback(kept[0]):
            known[word] = " ".join(kept)
    known["cert"] = "/etc/ssl/certs/ca-certificates.crt"
    files = {"etc/pip.conf": "[global]\n" + "".join(f"{word} = {value}\n" for word, value in known.items())}
    if "index-url" in known:
        files["etc/uv/uv.toml"] = f'index-url = "{known["index-url"]}"\n'
    return {path: text.encode() for path, text in files.items()}


def _environment() -> str:
    """Variables that each session in the box starts with: proxies, and where downloads are kept between boxes."""
    known = {"PIP_CACHE_DIR": "/var/cache/box/pip", "UV_CACHE_DIR": "/var/cache/box/uv"}
    for name in _PROXIES:
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value and not _on_loopback(value):
            known[name] = value
    return "".join(f'{name}="{value}"\n' for name, value in known.items())


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
