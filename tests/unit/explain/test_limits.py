from __future__ import annotations

import pytest

from appliance import features
from appliance.explain import limits
from tests import small_models
from tests.profiles import NAMES, changed, load

MILL = {
    "type": "L", "air_temperature": 300.0, "process_temperature": 310.0, "speed": 1500.0, "torque": 52.0,
    "tool_wear": 220.0, "power": 8168.1, "temperature_difference": 10.0, "strain": 11440.0,
}  # fmt: skip


def texts(**values: object) -> list[str]:
    return [limit["text"] for limit in limits.limits(load("milling"), MILL | values)]


def test_each_limit_is_told_with_what_is_left() -> None:
    assert texts() == [
        "Process above air temperature 10.0 K, least 8.6: 1.4 K left and Rotational speed 1,500 rpm, least 1,380: 120 rpm left",
        "Power 8,168 W, least 3,500: 4,668 W left",
        "Power 8,168 W, limit 9,000: 832 W left",
        "Strain 11,440 min N.m, limit 11,000 for quality low: 440 min N.m beyond it",
        "Tool wear 220 min, limit 200: 20 min beyond it",
    ]


def test_a_value_at_its_bound_breaks_nothing_and_is_said_to_be_there() -> None:
    # 308.6 - 300.0, as a machine calculates it
    (heat, *_) = limits.limits(load("milling"), MILL | {"temperature_difference": 308.6 - 300.0, "speed": 1300.0})
    assert not heat["broken"]
    assert heat["text"].startswith("Process above air temperature 8.6 K, least 8.6: just at it and")
    assert texts(power=9000.0)[2] == "Power 9,000 W, limit 9,000: just at it"


def test_less_than_the_last_digit_is_still_told() -> None:
    assert texts(power=9000.25)[2] == "Power 9,000 W, limit 9,000: 0.25 W beyond it"


def test_what_is_not_known_breaks_nothing() -> None:
    (limit,) = limits.limits(load("pump"), {"vibration": None})
    assert (limit["broken"], limit["text"]) == (False, "Vibration velocity is not known")
    assert limit["conditions"][0]["distance"] is None
    strain = limits.limits(load("milling"), MILL | {"type": None})[3]
    assert (strain["broken"], strain["text"]) == (False, "Strain is not known")


@pytest.mark.parametrize("name", NAMES)
def test_limits_and_their_sum_are_those_of_the_feature_function(name: str) -> None:
    profile = load(name)
    frame = features.feature_frame(profile, small_models.rows(profile, 300))
    say = features.limits_say(profile, frame)
    assert say.any()
    for values, broken in zip(frame.iter_rows(named=True), say, strict=True):
        found = limits.limits(profile, values)
        assert any(limit["broken"] for limit in found if not limit["advisory"]) == broken
        for limit in found:
            known = [c["distance"] for c in limit["conditions"] if c["distance"] is not None]
            assert limit["broken"] == (len(known) == len(limit["conditions"]) and all(far < 0 for far in known))
        for failing in (False, True):
            said = limits.compared(profile, failing, values)
            assert (said["limits"], said["agree"]) == (broken, broken == failing)


def test_a_profile_without_limits_has_nothing_to_compare() -> None:
    profile = changed("pump", '[[limits]]\nmode = "bearing"\nall = [{ feature = "vibration", above = 11.2 }]\n', "")
    said = limits.compared(profile, True, {"vibration": 20.0})
    assert (said["limits"], said["agree"]) == (None, None)
    assert limits.limits(profile, {}) == []
    advisory = changed("pump", 'mode = "bearing"\nall', 'mode = "bearing"\nadvisory = true\nall')
    assert limits.compared(advisory, True, {"vibration": 20.0})["limits"] is None
