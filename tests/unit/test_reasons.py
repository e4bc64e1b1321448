from __future__ import annotations

from appliance.reasons import amount, reason
from tests.profiles import load

MILL = {
    "type": "L", "air_temperature": 300.0, "process_temperature": 310.0, "speed": 1500.0, "torque": 52.0,
    "tool_wear": 220.0, "power": 8168.1, "temperature_difference": 10.0, "strain": 11440.0,
}  # fmt: skip


def test_a_broken_limit_speaks_first_with_value_and_bound() -> None:
    said = reason(load("milling"), MILL, [0.9, 0.0, 0.0, 0.4])
    assert said.mode == "overstrain"
    assert said.text == "Strain 11,440 min N.m, limit 11,000 for quality low"
    assert said.action.startswith("Lower the torque")


def test_an_advisory_limit_speaks_where_no_other_is_broken() -> None:
    said = reason(load("milling"), MILL | {"type": "H"}, [0.9, 0.0, 0.0, 0.4])
    assert said.mode == "tool_wear"
    assert said.text == "Tool wear 220 min, limit 200"


def test_all_conditions_of_a_limit_are_named() -> None:
    hot = MILL | {"tool_wear": 10.0, "strain": 520.0, "temperature_difference": 8.1, "speed": 1301.0}
    said = reason(load("milling"), hot, [0.0, 0.9, 0.0, 0.0])
    assert said.text == "Process above air temperature 8.1 K, least 8.6 and Rotational speed 1,301 rpm, least 1,380"


def test_without_a_broken_limit_the_likeliest_mode_speaks() -> None:
    calm = MILL | {"tool_wear": 10.0, "strain": 520.0}
    said = reason(load("milling"), calm, [0.31, 0.02, 0.0, 0.1])
    assert said.mode == "tool_wear"
    assert said.text == "Tool wear 31% likely, no limit broken"


def test_a_missing_value_breaks_nothing() -> None:
    assert reason(load("pump"), {"vibration": None}, [0.4]).text == "Bearing 40% likely, no limit broken"


def test_amounts_are_written_as_an_engineer_would() -> None:
    assert amount(load("milling"), "strain", 11430.4) == "11,430 min N.m"
    assert amount(load("milling"), "torque", 42.75, unit=False) == "42.8"
