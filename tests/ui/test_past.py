"""The filter of past predictions: its address says the same there and back, and times are plant time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import past
from ui.past import Wanted

BERLIN = ZoneInfo("Europe/Berlin")
names = st.none() | st.text("abcdeäß-_ 0123456789&=?#%+/", min_size=1, max_size=20).map(str.strip).filter(bool)
minutes = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(second=0, microsecond=0)
)


@st.composite
def wanted(draw: st.DrawFn) -> Wanted:
    span = draw(st.sampled_from(past.SPANS))
    since, until = (draw(minutes), draw(minutes)) if span == "own" else (None, None)
    least = draw(st.none() | st.integers(1, 1000).map(lambda tenths: tenths / 10))
    source, verdict = draw(st.sampled_from(past.SOURCES)), draw(st.sampled_from(past.VERDICTS))
    file = draw(st.none() | st.integers(1, 2**63 - 2))
    return Wanted(span, since, until, draw(names), draw(names), source, verdict, least, file)


@given(wanted())
def test_an_address_asks_for_what_the_widgets_say(asked: Wanted) -> None:
    found = past.read(asked.address())
    assert found.unread == []
    values = {
        name: getattr(asked, {"from": "from_", "min_probability": "least"}.get(name, name)) for name in past.NAMES
    }
    assert found.values == values


@given(st.dictionaries(st.sampled_from([*past.NAMES, "other"]), st.text(max_size=30)))
def test_what_nobody_understands_is_named(question: dict[str, str]) -> None:
    found = past.read(question)
    assert set(found.values) == set(past.NAMES)
    assert set(found.unread) <= set(question)
    assert "other" not in question or "other" in found.unread
    assert found.values["span"] in past.SPANS


@pytest.mark.parametrize(
    ("span", "since", "until"),
    [
        ("day", "2026-03-28T10:30:00+00:00", None),
        ("today", "2026-03-28T23:00:00+00:00", None),
        ("yesterday", "2026-03-27T23:00:00+00:00", "2026-03-28T23:00:00+00:00"),
        ("week", "2026-03-22T10:30:00+00:00", None),
        ("all", None, None),
    ],
)
def test_spans_are_of_plant_time(span: str, since: str | None, until: str | None) -> None:
    """On the very day on which clocks are put forward."""
    now = datetime(2026, 3, 29, 10, 30, tzinfo=UTC)
    found = [at and at.astimezone(UTC).isoformat() for at in Wanted(span).between(BERLIN, now)]
    assert found == [since, until]


def test_a_day_on_which_clocks_change_has_its_own_length() -> None:
    """The Monday after: yesterday had 23 hours."""
    since, until = Wanted("yesterday").between(BERLIN, datetime(2026, 3, 30, 6, tzinfo=UTC))
    assert since is not None
    assert until is not None
    assert (until.astimezone(UTC) - since.astimezone(UTC)).total_seconds() == 23 * 3600


def test_times_of_ones_own_are_plant_time() -> None:
    asked = Wanted("own", datetime(2026, 7, 1, 8), datetime(2026, 7, 1, 9))
    filters = asked.filters(BERLIN, datetime.now(UTC))
    assert filters["from_"].isoformat() == "2026-07-01T08:00:00+02:00"
    assert filters["to"].isoformat() == "2026-07-01T09:00:00+02:00"
    assert asked.address() == {"span": "own", "from": "2026-07-01T08:00", "to": "2026-07-01T09:00"}
