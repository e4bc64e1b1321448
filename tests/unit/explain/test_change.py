"""The smallest change is checked the hard way: every value of a reading, one by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from appliance import features
from appliance.explain import row as rows
from appliance.explain.change import Change, Changes
from appliance.explain.row import Row
from appliance.profile import MACHINE
from appliance.serving import Served
from tests import small_models
from tests.profiles import text
from tests.unit.explain.made import served, vector

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def changes(model: Served, row: Row) -> Changes:
    spread = np.array([column.get("std") or 1.0 for column in model.bundle.card["features"]])
    now = rows.vector_of(model.profile, row.featured(row.readings))
    return Changes(row, now, model.scorer, model.seen, spread)


def failing_rows(model: Served, count: int, seed: int = 5) -> list[Row]:
    """Rows of the plant that the model warns of, or that break a limit."""
    profile = model.profile
    frame = small_models.rows(profile, 400, seed).with_columns(pl.Series(MACHINE, [f"m{n}" for n in range(400)]))
    whole = features.feature_frame(profile, frame)
    matrix = features.matrix_of(profile, whole)
    unsafe = model.scorer.score(matrix).failing | features.limits_say(profile, whole)
    return [rows.of_features(profile, vector(matrix[n]), NOW) for n in np.flatnonzero(unsafe)[:count]]


def is_safe(model: Served, row: Row, name: str, values: list[Any]) -> list[bool]:
    """What the model and the limits say to each, within what training has seen: told anew, row by row."""
    now = rows.vector_of(model.profile, row.featured(row.readings))
    whole = row.featured(row.changed((name, values)))
    matrix = features.matrix_of(model.profile, whole)
    low, high = model.seen
    moved_out = ((matrix < low) | (matrix > high)) & (matrix != now)
    broken = features.limits_say(model.profile, whole)
    return list(~model.scorer.score(matrix).failing & ~broken & ~moved_out.any(axis=1))


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_each_change_works_and_a_step_less_does_not(name: str) -> None:
    model = served(name)
    found = 0
    for row in failing_rows(model, 25):
        for change in changes(model, row).nearest():
            column = change.column
            assert is_safe(model, row, column.name, [change.after]) == [True]
            again = row.featured(row.changed((column.name, [change.after])))
            assert change.probability == model.scorer.score(features.matrix_of(model.profile, again)).probability[0]
            if not isinstance(column.settable, list):
                step = 10.0 ** -(column.decimals or 0)
                nearer = change.after + (step if change.after < change.before else -step)
                assert round(nearer, 9) == change.before or is_safe(model, row, column.name, [nearer]) == [False]
            found += 1
    assert found > 10


def test_no_reading_that_could_do_it_is_left_out_and_none_is_nearer() -> None:
    """Against every value that the profile's digits allow; a safe island narrower than the first look's steps may be
    passed over, so what is nearer may only be such an island."""
    model = served("milling")
    profile = model.profile
    for row in failing_rows(model, 6):
        found = {change.column.name: change for change in changes(model, row).nearest()}
        for column in (profile.column(name) for name in ("torque", "speed", "air_temperature", "process_temperature")):
            assert column.minimum is not None
            assert column.maximum is not None
            step = 10.0 ** -(column.decimals or 0)
            values = np.arange(column.minimum, column.maximum + step / 2, step).round(column.decimals).tolist()
            safe = is_safe(model, row, column.name, values)
            runs = _runs([value for value, ok in zip(values, safe, strict=True) if ok], step)
            wide = [run for run in runs if run[1] - run[0] >= 10 * step]
            if wide:
                before = row.readings[column.name].item()
                nearest = min(min(abs(end - before) for end in run) for run in wide)
                change = found[column.name]
                assert abs(change.after - before) <= nearest + step / 2
                assert any(low <= change.after <= high for low, high in runs)


def test_the_smallest_comes_first_counted_in_what_is_usual() -> None:
    model = served("milling")
    for row in failing_rows(model, 10):
        sizes = [change.size for change in changes(model, row).nearest()]
        assert sizes == sorted(sizes)
        assert all(size > 0 for size in sizes)


def with_settable(name: str, value: str) -> Served:
    """The mill where one reading may be set as the profile says, and a false alarm is as dear as a failure."""
    described = text("milling").replace("false_alarm = 200", "false_alarm = 6000")
    for line in ("settable = false\n", "settable = [0]  # by a new tool\n"):
        described = described.replace(line, "")
    header = f'name = "{name}"\n'
    assert header in described
    return served("milling", described.replace(header, f"{header}settable = {value}\n"))


def of(found: list[Change], name: str) -> Change | None:
    return next((change for change in found if change.column.name == name), None)


def test_a_reading_may_be_set_to_what_its_profile_lists_and_to_nothing_else() -> None:
    model = with_settable("torque", "[12.5, 30, 44]")
    seen = set()
    for row in failing_rows(model, 25):
        change = of(changes(model, row).nearest(), "torque")
        if change is not None:
            assert change.settable
            seen.add(change.after)
            safe = is_safe(model, row, "torque", [12.5, 30.0, 44.0])
            could = [value for value, ok in zip([12.5, 30.0, 44.0], safe, strict=True) if ok]
            assert change.after == min(could, key=lambda value: abs(value - change.before))
    assert seen
    assert seen <= {12.5, 30.0, 44.0}


def test_what_is_only_measured_is_marked() -> None:
    model = with_settable("torque", "false")
    found = [change for row in failing_rows(model, 25) for change in changes(model, row).nearest()]
    assert {change.settable for change in found if change.column.name == "torque"} == {False}
    assert {change.settable for change in found if change.column.name == "speed"} == {True}


def test_categories_are_tried_out_too() -> None:
    """The limit of strain is another one for each quality."""
    model = with_settable("type", "true")
    strained = {"type": "L", "tool_wear": 190.0, "torque": 60.0}  # beyond the limit of L, not of M
    frame = small_models.rows(model.profile, 30).with_columns(pl.lit(v).alias(n) for n, v in strained.items())
    found = []
    for number in range(30):
        row = rows.of_readings(model.profile, frame[number : number + 1], None)
        others = is_safe(model, row, "type", ["L", "M", "H"])
        change = of(changes(model, row).nearest(), "type")
        if others == [False, True, True]:
            assert change is not None
            assert change.after in ("M", "H")
            found.append(change)
        elif not any(others):
            assert change is None
    assert found


def test_whole_numbers_stay_whole() -> None:
    described = text("milling").replace('unit = "rpm"\ntype = "number"', 'unit = "rpm"\ntype = "integer"')
    model = served("milling", described)
    assert model.profile.column("speed").type == "integer"
    found = [of(changes(model, row).nearest(), "speed") for row in failing_rows(model, 25)]
    values = [change.after for change in found if change is not None]
    assert values
    assert all(isinstance(value, int) for value in values)


def test_a_curve_goes_over_the_range_with_the_present_value_in_it() -> None:
    model = served("pump")
    row = failing_rows(model, 1)[0]
    column = model.profile.column("vibration")
    values, tried = changes(model, row).curve(column)
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (0.0, 60.0)
    assert row.readings["vibration"].item() in values
    whole = row.featured(row.changed(("vibration", values)))
    np.testing.assert_array_equal(
        tried.probability, model.scorer.score(features.matrix_of(model.profile, whole)).probability
    )


def test_a_missing_reading_is_not_set_and_can_still_be_drawn() -> None:
    model = served("pump")
    frame = small_models.rows(model.profile, 30).filter(pl.col("temperature").is_null())[:1]
    row = rows.of_readings(model.profile, frame, None)
    assert of(changes(model, row).nearest(), "temperature") is None
    values, tried = changes(model, row).curve(model.profile.column("temperature"))
    assert len(values) == len(tried.probability) > 10


def test_very_many_readings_are_looked_at_less_closely() -> None:
    model = served("milling")
    row = failing_rows(model, 1)[0]
    tried: list[int] = []

    class Counting(Changes):
        def _try(self, *changes: Any) -> Any:
            tried.append(sum(len(values) for _, values in changes))
            return super()._try(*changes)

    columns = [model.profile.column("torque")] * 400
    many = model.profile.model_copy(update={"columns": [*model.profile.columns, *columns]})
    now = rows.vector_of(model.profile, row.featured(row.readings))
    Counting(Row(many, row.readings, None, {}), now, model.scorer, model.seen, np.ones(9)).nearest()
    assert max(tried) < 20_000


def _runs(values: list[float], step: float) -> list[tuple[float, float]]:
    """Stretches of values that follow each other."""
    runs: list[tuple[float, float]] = []
    for value in values:
        if runs and value - runs[-1][1] < 1.5 * step:
            runs[-1] = runs[-1][0], value
        else:
            runs.append((value, value))
    return runs
