from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from appliance.alarms import Memory, Rule, Transition, follow

START = datetime(2026, 3, 1, tzinfo=UTC)

rules = st.builds(
    lambda window, needed, calm, minutes: Rule(min(needed, window), window, calm, timedelta(minutes=minutes)),
    window=st.integers(1, 6),
    needed=st.integers(1, 6),
    calm=st.integers(1, 5),
    minutes=st.integers(0, 9),
)
verdicts = st.lists(st.booleans(), max_size=60)


def _times(count: int, first: int = 0) -> np.ndarray:
    return np.array(
        [np.datetime64((START + timedelta(minutes=first + i)).replace(tzinfo=None), "us") for i in range(count)]
    )


def _by_hand(rule: Rule, failing: list[bool]) -> list[Transition]:
    """The rule as one would say it, row by row."""
    transitions, is_open, calm, quiet_until = [], False, 0, START - timedelta(days=1)
    for row, fails in enumerate(failing):
        calm = 0 if fails else calm + 1
        now = START + timedelta(minutes=row)
        window = failing[max(0, row + 1 - rule.window) : row + 1]
        if is_open and calm >= rule.calm:
            transitions.append(Transition(row, "close"))
            is_open, quiet_until = False, now + rule.cooldown
        elif not is_open and fails and sum(window) >= rule.needed and now >= quiet_until:
            transitions.append(Transition(row, "open"))
            is_open = True
    return transitions


@given(rules, verdicts)
def test_follows_the_rule_row_by_row(rule: Rule, failing: list[bool]) -> None:
    _, transitions = follow(rule, Memory(), np.array(failing, dtype=bool), _times(len(failing)))
    assert transitions == _by_hand(rule, failing)


@given(rules, verdicts, st.data())
def test_how_rows_are_cut_into_batches_changes_nothing(rule: Rule, failing: list[bool], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(failing)))
    whole_memory, whole = follow(rule, Memory(), np.array(failing, dtype=bool), _times(len(failing)))
    memory, first = follow(rule, Memory(), np.array(failing[:cut], dtype=bool), _times(cut))
    memory, second = follow(rule, memory, np.array(failing[cut:], dtype=bool), _times(len(failing) - cut, cut))
    assert first + [Transition(t.row + cut, t.kind) for t in second] == whole
    assert memory == whole_memory


def test_a_machine_on_the_edge_alarms_once_in_the_cooldown() -> None:
    rule = Rule(needed=1, window=1, calm=1, cooldown=timedelta(minutes=30))
    failing = np.array([True, False] * 20)
    _, transitions = follow(rule, Memory(), failing, _times(40))
    assert [t.row for t in transitions if t.kind == "open"] == [0, 32]
