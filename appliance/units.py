"""The services of this box as systemd knows them; nothing on a machine where systemd does not run, or may not be asked."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

PATTERNS = ("appliance*", "caddy.service", "postgresql*", "grafana-server.service", "grafana-alerts.*")

_RUNS = Path("/run/systemd/system")
_PROPERTIES = ("Id", "Type", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "NRestarts")
_ASK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Unit:
    """``active``: active, inactive, failed, activating, ...; ``sub`` is its finer word. ``enabled``: starts at boot."""

    name: str
    active: str
    sub: str
    result: str
    enabled: bool
    oneshot: bool
    restarts: int


def units() -> list[Unit]:
    """The appliance's units, the proxy's, the database's and Grafana's, by name."""
    if not _RUNS.is_dir():
        return []
    command = ["systemctl", "show", "--all", f"--property={','.join(_PROPERTIES)}", *PATTERNS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse(done.stdout)


def parse(shown: str) -> list[Unit]:
    """What ``systemctl show`` prints: blocks of ``Name=value`` lines with an empty line between."""
    found = []
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not values.get("Id") or values.get("LoadState") != "loaded" or values["Id"].endswith((".slice", ".mount")):
            continue
        found.append(
            Unit(
                name=values["Id"],
                active=values.get("ActiveState", ""),
                sub=values.get("SubState", ""),
                result=values.get("Result", ""),
                enabled=values.get("UnitFileState", "").startswith("enabled"),
                oneshot=values.get("Type") == "oneshot",
                restarts=int(values.get("NRestarts") or 0),
            )
        )
    return sorted(found, key=lambda unit: unit.name)
