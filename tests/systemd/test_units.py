"""The units as systemd itself reads them: correct, and as closed as was promised."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
COMMANDS = r"/opt/appliance/current/bin/\w+|/usr/lib/xorg/Xorg"
# Exposure as `systemd-analyze security` counts it, from 0 (nothing) to 10 (everything).
LIMITS = {
    "appliance-api": 0.6,
    "appliance-airflow-api": 2.5,
    "appliance-airflow-scheduler": 2.5,
    # A browser's own rooms for what draws a page are worth more than the three kinds of namespaces that they take.
    "appliance-kiosk": 1.7,
}
OTHERS = 1.5

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0"}
    command = ["systemd-analyze", "--no-pager", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_service_is_as_closed_as_was_promised(unit: Path) -> None:
    done = analyze("security", "--offline=true", unit)
    found = re.search(rf"Overall exposure level for {re.escape(unit.name)}: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    open_doors = [line for line in done.stdout.splitlines() if re.search(r"0\.[1-9]$", line)]
    assert float(found[1]) <= LIMITS.get(unit.stem, OTHERS), "\n".join(open_doors)


def test_systemd_finds_nothing_to_say_about_any_unit(tmp_path: Path) -> None:
    # Beside the real programs: those of a release are not installed where tests run.
    shutil.copytree(UNITS, tmp_path / "units")
    for unit in (tmp_path / "units").glob("*.service"):
        unit.write_text(re.sub(COMMANDS, "/bin/true", unit.read_text()))
    kinds = ("service", "socket", "target", "timer")
    units = [path for kind in kinds for path in sorted((tmp_path / "units").glob(f"*.{kind}"))]
    assert len(units) > len(SERVICES)
    done = analyze("verify", "--man=no", "--recursive-errors=no", *units)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_what_runs_for_years_is_started_again_for_ever(unit: Path) -> None:
    """A service that gave up after five tries on a Saturday is found on Monday."""
    said = configparser.ConfigParser(strict=False, interpolation=None)
    said.optionxform = str  # type: ignore[assignment,method-assign]
    said.read(unit)
    if said["Service"].get("Type") == "oneshot":
        return
    assert said["Service"]["Restart"] == "always"
    assert said["Unit"]["StartLimitIntervalSec"] == "0"
    assert "appliance.target" in unit.read_text()
    # What serves nobody may hang without harm, and has no voice for a watchdog.
    watched = ("WatchdogSec",) if said["Service"].get("Type") == "notify" else ()
    for limit in ("MemoryMax", "MemoryHigh", "CPUWeight", "TimeoutStopSec", *watched):
        assert said["Service"].get(limit), limit


def test_secrets_come_as_credentials_and_in_no_other_way() -> None:
    """Neither a unit nor its environment holds one: both may be read by everybody on the box."""
    for path in UNITS.rglob("*"):
        if path.is_file():
            for line in path.read_text().splitlines():
                if "/etc/appliance/secrets" in line:
                    assert line.startswith(("LoadCredential=", "InaccessiblePaths=")), f"{path.name}: {line}"
                assert not re.match(r"(Environment|SetCredential).*(SECRET|TOKEN|PASSWORD|KEY)", line, re.I), line
