"""What is worked out once of a profile."""

from __future__ import annotations

import gc
import weakref

from appliance.memo import _MOST, once
from appliance.profile import Profile
from tests import profiles


def test_it_is_made_once_for_each_profile_and_question() -> None:
    made: list[tuple[str, str]] = []

    @once
    def told(profile: Profile, word: str) -> list[str]:
        made.append((profile.name, word))
        return [profile.name, word]

    milling, pump = profiles.load("milling"), profiles.load("pump")
    for _ in range(3):
        assert told(milling, "a") == ["milling", "a"]
        assert told(milling, "b") == ["milling", "b"]
        assert told(pump, "a") == ["pump", "a"]
    assert made == [("milling", "a"), ("milling", "b"), ("pump", "a")]


def test_a_copy_that_differs_is_another_profile() -> None:
    @once
    def title(profile: Profile) -> str:
        return profile.title

    milling = profiles.load("milling")
    for number in range(2 * _MOST):
        # Each is let go of at once, and its number in memory may go to the next.
        assert title(milling.model_copy(update={"title": str(number)})) == str(number)
    assert title(milling) == milling.title


def test_few_are_kept() -> None:
    @once
    def title(profile: Profile) -> str:
        return profile.title

    milling = profiles.load("milling")
    first = milling.model_copy()
    seen = weakref.ref(first)
    title(first)
    del first
    for _ in range(_MOST):
        title(milling.model_copy())
    gc.collect()
    assert seen() is None
