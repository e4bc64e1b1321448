"""Whether the services that should run do."""

from __future__ import annotations

from appliance import units
from appliance.checks.base import Context, Fault

# A service that was started again so often does not suffer from one bad moment.
_MANY_RESTARTS = 5


def check(context: Context) -> list[Fault]:
    del context  # systemd is asked, not the settings
    return [fault for unit in units.units() for fault in judge(unit)]


def judge(unit: units.Unit) -> list[Fault]:
    """What is wrong with one unit."""
    see = f"`journalctl -u {unit.name} -n 50` says why; `systemctl restart {unit.name}` tries again."
    if unit.active == "failed":
        return [Fault("service", "fault", f"{unit.name} failed ({unit.result or unit.sub}).", see)]
    if unit.sub == "auto-restart":
        return [Fault("service", "fault", f"{unit.name} ended and is being started again.", see)]
    if unit.enabled and unit.active == "inactive" and not unit.oneshot:
        way_out = f"`systemctl start {unit.name}`."
        return [Fault("service", "fault", f"{unit.name} should run and does not.", way_out)]
    if unit.restarts >= _MANY_RESTARTS:
        return [Fault("service", "warning", f"{unit.name} had to be started again {unit.restarts} times.", see)]
    return []
