"""What systemd says of the services, and what is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance import units
from appliance.checks import services
from appliance.units import Unit

# As `systemctl show` of Debian 12 prints it: units in blocks, in no order that can be relied on.
SHOWN = """\
Type=notify
NRestarts=2
Result=success
Id=appliance-api.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

Type=oneshot
NRestarts=0
Result=exit-code
Id=appliance-doctor.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=static

Id=appliance.target
LoadState=loaded
ActiveState=active
SubState=active
UnitFileState=enabled

Id=appliance-gone.service
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=appliance.slice
LoadState=loaded
ActiveState=active
SubState=active
"""

GOOD = Unit("appliance-api.service", "active", "running", "success", enabled=True, oneshot=False, restarts=0)


def test_blocks_become_units_and_what_is_no_service_of_ours_is_left_out() -> None:
    found = {unit.name: unit for unit in units.parse(SHOWN)}
    assert list(found) == ["appliance-api.service", "appliance-doctor.service", "appliance.target"]
    assert found["appliance-api.service"] == replace(GOOD, restarts=2)
    assert found["appliance-doctor.service"].oneshot
    assert not found["appliance-doctor.service"].enabled


def test_nothing_printed_is_no_unit() -> None:
    assert units.parse("") == []


@pytest.mark.parametrize(
    ("change", "severity", "said"),
    [
        ({}, None, ""),
        ({"active": "failed", "sub": "failed", "result": "oom-kill"}, "fault", "failed (oom-kill)"),
        ({"active": "activating", "sub": "auto-restart", "result": "exit-code"}, "fault", "being started again"),
        ({"active": "inactive", "sub": "dead"}, "fault", "should run and does not"),
        ({"active": "inactive", "sub": "dead", "enabled": False}, None, ""),
        ({"active": "inactive", "sub": "dead", "oneshot": True}, None, ""),
        ({"restarts": 5}, "warning", "started again 5 times"),
        ({"restarts": 4}, None, ""),
    ],
)
def test_each_trouble_has_its_sentence_and_its_way_out(
    change: dict[str, object], severity: str | None, said: str
) -> None:
    faults = services.judge(replace(GOOD, **change))  # type: ignore[arg-type]
    assert [fault.severity for fault in faults] == ([severity] if severity else [])
    for fault in faults:
        assert said in fault.sentence
        assert "systemctl" in fault.way_out
        assert fault.sentence.endswith(".")
