"""What follows from a profile alone, worked out once: for a single row it costs more than the row itself. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from appliance.profile import Profile

_MOST = 256

P = ParamSpec("P")
T = TypeVar("T")


def once(make: Callable[Concatenate[Profile, P], T]) -> Callable[Concatenate[Profile, P], T]:
    """``make(profile, ...)`` for arguments that can be hashed. What it gives is shared, so nobody may change it.

    A profile is known by its identity, and kept for as long as what was made of it: another never gets its number.
    """
    kept: OrderedDict[Hashable, tuple[Profile, T]] = OrderedDict()

    @wraps(make)
    def known(profile: Profile, /, *args: P.args, **kwargs: P.kwargs) -> T:
        key = (id(profile), args, tuple(kwargs.items()))
        found = kept.get(key)
        if found is None:
            # Two threads may both make it: the same comes out.
            found = kept[key] = profile, make(profile, *args, **kwargs)
            while len(kept) > _MOST:
                kept.popitem(last=False)
        return found[1]

    return known
