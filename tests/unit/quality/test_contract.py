"""A profile's contract is refused where the checks could not keep it."""

from __future__ import annotations

import pandera.errors
import polars as pl
import pytest

from appliance import contract
from appliance.errors import ProfileError
from tests import profiles

FORMAT = 'format = "%d.%m.%Y %H:%M:%S"'
EXAMPLE = 'example = "01.03.2026 08:00:00"'


@pytest.mark.parametrize("name", profiles.NAMES)
def test_the_shipped_profiles_are_fit(name: str) -> None:
    contract.check(profiles.load(name))


@pytest.mark.parametrize("pattern", ["^(?!x)P", r"^(P)\\1$"])
def test_a_pattern_that_the_checks_do_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(ProfileError, match=r"columns\[1\] \(pump\)\.pattern"):
        contract.check(profiles.changed("pump", "^P-[0-9]{2}$", pattern))


@pytest.mark.parametrize("wrong", ["%H:%M", "%Q", "abc", "%", "%Y-%m-%d %H", "%d.%m.%Y %H:%M:%S,%f", "%%d.%m.%Y"])
def test_a_format_that_gives_no_date_and_time_is_refused(wrong: str) -> None:
    with pytest.raises(ProfileError, match=r"\[time\]\.format"):
        contract.check(profiles.changed("pump", FORMAT, f'format = "{wrong}"'))


def test_a_format_that_does_not_read_the_example_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"01\.03\.2026 08:00:00"):
        contract.check(profiles.changed("pump", FORMAT, 'format = "%Y-%m-%d"'))


@pytest.mark.parametrize(
    ("right", "example"),
    [("%d.%m.%Y %H:%M:%S.%f", "01.03.2026 08:00:00.125"), ("%Y-%m-%dT%H:%M:%S%z", "2026-03-01T08:00:00+0100"), ("%s", "1772352000")],
)  # fmt: skip
def test_formats_that_machines_write_are_fit(right: str, example: str) -> None:
    text = profiles.text("pump").replace(FORMAT, f'format = "{right}"').replace(EXAMPLE, f'example = "{example}"')
    from appliance.profile import parse

    contract.check(parse(text))


def test_the_schema_refuses_what_breaks_it() -> None:
    pump = profiles.load("pump")
    schema = contract.schema(pump, ["vibration", "fluid"])
    schema.validate(pl.DataFrame({"vibration": [2.0], "fluid": ["water"]}), lazy=True)
    for vibration, fluid in ((-1.0, "water"), (None, "water"), (2.0, "beer"), (2.0, None)):
        frame = pl.DataFrame(
            {"vibration": [vibration], "fluid": [fluid]}, schema={"vibration": pl.Float64, "fluid": pl.String}
        )
        with pytest.raises(pandera.errors.SchemaErrors):
            schema.validate(frame, lazy=True)
