"""Rows that came before are found within the window, wherever a batch ends."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.duplicates import Duplicates
from tests import counts


def seen(values: list[int], sizes: list[int], window: int) -> list[bool]:
    memory, found, start = Duplicates(window), [], 0
    for size in [*sizes, len(values)]:
        part = pl.DataFrame({"a": values[start : start + size], "b": "x"}, schema={"a": pl.Int64, "b": pl.String})
        found += memory.seen(part, ["a", "b"]).tolist()
        start += size
    return found


@given(values=st.lists(st.integers(0, 20), max_size=60), sizes=st.lists(st.integers(0, 9), max_size=9))
@settings(max_examples=counts.examples(150))
def test_all_but_the_first_of_equal_rows_are_found(values: list[int], sizes: list[int]) -> None:
    assert seen(values, sizes, 1000) == [value in values[:n] for n, value in enumerate(values)]


@given(
    values=st.lists(st.integers(0, 9), max_size=60),
    sizes=st.lists(st.integers(0, 9), max_size=9),
    window=st.integers(1, 12),
)
@settings(max_examples=counts.examples(150))
def test_the_window_bounds_the_search_and_batches_do_not_matter(
    values: list[int], sizes: list[int], window: int
) -> None:
    found = seen(values, sizes, window)
    assert found == seen(values, [], window)
    for n, value in enumerate(values):
        if value in values[max(0, n - window) : n]:
            assert found[n]
        if value not in values[max(0, n - 2 * window) : n]:
            assert not found[n]


def test_cells_that_only_join_alike_are_not_the_same() -> None:
    rows = pl.DataFrame({"a": ["ab", "a", None, "", "x"], "b": ["c", "bc", "abc", None, None]})
    assert not Duplicates().seen(rows, ["a", "b"]).any()


def test_a_million_different_rows_are_different() -> None:
    rows = pl.DataFrame({"a": range(1_000_000)}).with_columns(
        (pl.col("a") // 1000).cast(pl.String).alias("b"), (pl.col("a") % 1000 / 10).cast(pl.String).alias("c")
    )
    assert not Duplicates().seen(rows, ["b", "c"]).any()
