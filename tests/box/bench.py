"""What an idle box takes: ``python -m tests.box.bench [--write]``, as root (``make bench-box``).

A fresh Debian is set up by the playbook and left alone. Counted is everything in it, systemd and PostgreSQL too: memory
as PSS, so that shared pages count once, and the CPU seconds of its control group.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.machine import facts
from tests.box import base, host, leftovers, made, permits
from tests.box.box import Box
from tests.box.host import Lacking
from tests.box.playbook import Playbook

PAGE = Path(__file__).parents[2] / "docs" / "performance-box.md"
GOAL_PSS_MIB, GOAL_CPU = 1024, 0.08
_SETTLE_SECONDS = 180
_INSTALLED = ("/opt/appliance", "/var/lib/postgresql", "/var/lib/appliance")
_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.box.bench", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="minutes that the box is left alone (10)")
    parser.add_argument("--debian", default="12", help="Debian of the box (12)")
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    options = parser.parse_args(arguments)
    try:
        permits.check()
    except Lacking as reason:
        sys.exit(str(reason))
    leftovers.sweep()
    words = " ".join(sys.argv[1:] if arguments is None else arguments)
    found: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": facts(), "minutes": options.minutes, "debian": options.debian,
        "command": " ".join(["make bench-box", *([f'ARGS="{words}"'] if words else [])]),
    }  # fmt: skip
    with Box.made(base.image(base.release_of(options.debian))) as box, tempfile.TemporaryDirectory() as folder:
        box.start()
        empty = _used(box)
        began = time.monotonic()
        Playbook(box, Path(folder)).run()
        found["install_minutes"] = round((time.monotonic() - began) / 60, 1)
        made.back(box)
        found["disk_mib"] = round((_used(box) - empty) / _MIB)
        found["folders_mib"] = {name: _size(box, name) for name in _INSTALLED}
        time.sleep(_SETTLE_SECONDS)
        before, since = _cpu_seconds(box), time.monotonic()
        time.sleep(options.minutes * 60)
        found["cpu"] = round((_cpu_seconds(box) - before) / (time.monotonic() - since), 4)
        found["pss_mib"] = {name: round(pss) for name, pss in _pss(box).items()}
        began = time.monotonic()
        box.reboot()
        made.back(box)
        found["reboot_seconds"] = round(time.monotonic() - began)
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def markdown(found: dict[str, Any]) -> str:
    """The page."""
    machine, total = found["machine"], sum(found["pss_mib"].values())
    folders = ", ".join(f"`{name}` {size} MiB" for name, size in found["folders_mib"].items())
    lines = [
        "# What a box takes",
        "",
        f"Measured by `{found['command']}` on {found['date']}, on {machine['cores']} cores of {machine['cpu']},",
        f"{machine['memory_gib']} GiB, {machine['system']}: a booted Debian {found['debian']} in a container, set up by the",
        "playbook and left alone. Counted is everything in it, systemd and PostgreSQL too (PSS, so that shared pages count",
        "once). Programs came through the machine's own mirrors, so a plant's line may make the first figure longer.",
        "",
        "| what | figure | aim |",
        "| --- | ---: | ---: |",
        f"| fresh Debian to running appliance, first model trained | {found['install_minutes']} min | |",
        f"| memory after {found['minutes']:g} idle minutes | {total} MiB | at most {GOAL_PSS_MIB} MiB |",
        f"| CPU of one core over them | {found['cpu']:.1%} | at most {GOAL_CPU:.0%} |",
        f"| disk that the playbook filled | {found['disk_mib']} MiB | |",
        f"| reboot to everything back | {found['reboot_seconds']} s | at most 90 s |",
        "",
        f"Of the disk: {folders}; the rest are Debian's packages. Of the memory:",
        "",
        "| unit | MiB |",
        "| --- | ---: |",
        *(f"| {name} | {pss} |" for name, pss in sorted(found["pss_mib"].items(), key=lambda pair: -pair[1]) if pss),
        "",
    ]
    return "\n".join(lines)


def _processes(box: Box) -> list[int]:
    found = []
    for folder, _, _ in os.walk(host.unified() / box.name):
        found += [int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()]
    return found


def _pss(box: Box) -> dict[str, float]:
    """MiB by unit; what runs outside of any goes by its own name."""
    total: dict[str, float] = {}
    for pid in _processes(box):
        process = Path("/proc", str(pid))
        try:
            words = (process / "cgroup").read_text().split("/")
            name = next((word.strip() for word in reversed(words) if word.strip().endswith(".service")), "others")
            rollup = (process / "smaps_rollup").read_text()
        except OSError:
            continue  # it ended meanwhile
        kib = int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
        total[name] = total.get(name, 0.0) + kib / 1024
    return total


def _cpu_seconds(box: Box) -> float:
    """Of all that ever ran in it, as the kernel counts a control group."""
    words = dict(line.split() for line in (host.unified() / box.name / "cpu.stat").read_text().splitlines())
    return int(words["usage_usec"]) / 1e6


def _size(box: Box, folder: str) -> int:
    return round(int(box.run(f"du -sk {folder}").out.split()[0]) / 1024)


def _used(box: Box) -> int:
    """Bytes of files on its disk."""
    return int(box.run("du -skx / 2>/dev/null", check=False, seconds=120).out.split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
