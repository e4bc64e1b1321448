"""The order in which workers take the tests: folders that moved would lose their place without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import turns


def test_every_folder_with_a_place_of_its_own_is_there() -> None:
    folders = {*turns.TOGETHER, *turns.FIRST}
    assert {folder for folder in folders if not Path(folder).exists()} == set()


@pytest.mark.parametrize(
    ("nodeid", "turn"),
    [
        ("tests/dags/test_runs.py::test_it[a::b]", "tests/dags/"),
        ("tests/ui/test_form.py::test_it[a::b]", "tests/ui/test_form.py"),
    ],
)
def test_a_turn_is_a_file_or_a_folder_that_shares_something(nodeid: str, turn: str) -> None:
    assert turns.turn(nodeid) == turn


def test_long_ones_come_first() -> None:
    names = ["tests/unit/test_ports.py::test_it", "tests/api/test_auth.py::test_it", "tests/demo/test_demo.py::test_it"]
    assert sorted(names, key=turns.rank) == names[::-1]
