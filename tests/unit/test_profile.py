from __future__ import annotations

from pathlib import Path

import pytest

from appliance import features
from appliance import profile as profiles
from appliance.errors import ProfileError
from tests.profiles import NAMES, changed, load, text


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_profiles_are_whole(name: str) -> None:
    profile = load(name)
    features.check(profile)
    assert profile.name == name
    assert 0 < profile.threshold < 1


def test_the_threshold_follows_from_the_costs() -> None:
    assert load("milling").threshold == pytest.approx(200 / (200 + 6000))
    dearer = changed("milling", "missed_failure = 6000", "missed_failure = 1800")
    assert dearer.threshold == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ("schema = 1", "schema = 1\ncolour = 1", "colour", "extra inputs"),
        ("maximum = 320", "maximum = 20", "columns[4] (air_temperature)", "below minimum"),
        ('unit = "rpm"', "unit = 5", "columns[6] (speed).unit", "valid string"),
        ('name = "torque"', 'name = "Torque!"', "columns[7] (Torque!).name", "match pattern"),
        ('header = "UDI"', 'header = "Product ID"', "", "two columns go by the header"),
        ('name = "udi"', 'name = "type"', "", "columns holds 'type' twice"),
        ('"power", "temperature_difference"', '"power", "heat"', "", "'heat', which is no column and no feature"),
        ('"type", "air_temperature"', '"udi", "air_temperature"', "", "only readings"),
        ('separator = ","', 'separator = "."', "file", "separator"),
        ('from = "folder"', 'from = "column"', "machine", "needs the key column"),
        ('categories = ["L", "M", "H"]', 'categories = ["L", "L"]', "columns[3] (type)", "twice"),
        ("{ L = 11000, M = 12000, H = 13000 }", "{ L = 11000, M = 12000 }", "", "must name each category"),
        ('mode = "overstrain"', 'mode = "overstrian"', "", "no mode"),
        ("needed = 3", "needed = 30", "alarms", "more than window"),
        ("false_alarm = 200", "false_alarm = 0", "costs.false_alarm", "greater than 0"),
        ('pattern = "^[LMH][0-9]{5}$"', 'pattern = "^[LMH"', "columns[2] (product_id)", "no regular expression"),
        ('column = "twf"', 'column = "type"', "", "no column with the role mode"),
    ],
)
def test_a_wrong_profile_is_refused_with_place_and_reason(old: str, new: str, place: str, reason: str) -> None:
    with pytest.raises(ProfileError) as caught:
        changed("milling", old, new)
    assert caught.value.place == place
    assert reason in caught.value.reason
    assert "milling.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("tool_wear * trque", "'trque', which is no numeric column"),
        ("tool_wear *", "no SQL expression"),
        ("tool_wear > 5", "not a number"),
        ("type", "'type', which is no numeric column"),
    ],
)
def test_a_wrong_derived_feature_is_refused_with_its_name(sql: str, reason: str) -> None:
    with pytest.raises(ProfileError) as caught:
        features.check(changed("milling", "tool_wear * torque", sql))
    assert caught.value.place == "features[3] (strain).sql"
    assert reason in str(caught.value)


def test_a_broken_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text("milling").replace('name = "milling"', "name = milling"))
    with pytest.raises(ProfileError, match=r"broken\.toml: is no TOML: .*line 5"):
        profiles.load(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        profiles.load(tmp_path / "absent.toml")


def test_the_contract_hash_tells_what_decides_over_rows_from_what_does_not() -> None:
    profile = load("milling")
    assert changed("milling", "# The milling machine", "# A milling machine").hash() == profile.hash()
    costs = changed("milling", "false_alarm = 200", "false_alarm = 300")
    assert costs.hash() != profile.hash()
    assert costs.contract_hash() == profile.contract_hash()
    assert changed("milling", "maximum = 320", "maximum = 321").contract_hash() != profile.contract_hash()
