"""A port that somebody has is not chosen."""

from __future__ import annotations

import socket

from appliance import ports


def test_the_wanted_one_where_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        found = ports.choose(number)
        assert found not in (0, number)
    free = ports.choose(0)
    assert ports.choose(free) == free


def test_never_one_that_was_given_away_already() -> None:
    first = ports.choose(0)
    assert ports.choose(first, first) != first
    assert ports.choose(0, first) != first
