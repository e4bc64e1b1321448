from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.explain import grid

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(low=numbers, high=numbers, decimals=st.integers(-2, 4), most=st.integers(1, 500))
def test_values_are_round_ascending_few_and_within_the_ends(low: float, high: float, decimals: int, most: int) -> None:
    found = grid.values(low, high, decimals, most)
    assert found == sorted(set(found))
    assert len(found) <= most + 2
    for value in found:
        assert low <= value <= high
        assert round(value, decimals) == value


@given(first=st.integers(-500, 500), count=st.integers(0, 300), decimals=st.integers(0, 3))
def test_all_values_come_where_there_is_room_for_them(first: int, count: int, decimals: int) -> None:
    numbers = [number / 10**decimals for number in range(first, first + count + 1)]
    assert grid.values(numbers[0], numbers[-1], decimals, 301) == numbers


def test_the_ends_are_there_and_the_rest_is_rounder() -> None:
    assert grid.values(3.8, 76.6, 1, 10) == [3.8, *range(10, 71, 10), 76.6]
    assert grid.values(500, 4000, 0, 400)[:3] == [500, 510, 520]
    assert grid.values(0.04, 0.06, 1, 10) == []
    assert grid.values(5, 4, 0, 10) == []


@pytest.mark.parametrize(
    ("decimals", "span", "wanted"), [(2, 1.0, 2), (None, 1.0, 3), (None, 3500, -0), (None, 1e6, -3), (None, 0, 0)]
)
def test_digits_are_those_of_the_profile_or_tell_a_thousand_values_apart(
    decimals: int | None, span: float, wanted: int
) -> None:
    assert grid.digits(decimals, span) == wanted
