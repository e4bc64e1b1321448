"""What stands behind the question mark: strict names, moments with a zone, opaque cursors."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Path, Query, Request
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute

from appliance.errors import RequestError

# Postgres holds no text with a NUL, and ids are 64 bit wide.
_TEXT = r"^[^\x00]*$"
BIGINT = 2**63 - 2  # one less, so that the one after it is an id too

Id = Annotated[int, Path(ge=1, le=BIGINT)]
Name = Annotated[str, Path(max_length=200, pattern=_TEXT)]
ProfileName = Annotated[
    str | None, Query(max_length=200, pattern=_TEXT, description="Needed where several profiles are served.")
]
Text = Annotated[str | None, Query(max_length=200, pattern=_TEXT)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next` of the page before.")]
Moment = Annotated[
    str | None, Query(max_length=40, description="A time as in ISO 8601; without a zone it is plant time.")
]


def refuse_unknown(request: Request) -> None:
    """RequestError for a parameter that the address does not know: a typo in a filter must not widen it unseen."""
    if not request.query_params:
        return
    known = _known(request.scope["route"])
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            listed = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
            way_out = f"Did you mean {near[0]!r}? {listed}" if near else listed
            raise RequestError(f"This address takes no parameter {name[:100]!r}.", way_out)
        if given.count(name) > 1:
            raise RequestError(f"The parameter {name!r} is given more than once.", "Give it once.")


def _known(route: APIRoute) -> frozenset[str]:
    return frozenset(field.alias for field in get_flat_dependant(route.dependant).query_params)


def moment(name: str, text: str | None, zone: str) -> datetime | None:
    """A time in UTC; one without a zone is meant in plant time ``zone``."""
    if text is None:
        return None
    try:
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            # A plus sign that nobody quoted comes as a space: 2026-03-01T08:00:00 01:00
            value = datetime.fromisoformat(text.replace(" ", "+"))
        if value.tzinfo is None:
            value = value.replace(tzinfo=ZoneInfo(zone))
        return value.astimezone(UTC)
    except (ValueError, OverflowError):
        example = "2026-03-01T08:00:00+01:00"
        raise RequestError(
            f"The parameter {name!r} is no time.", f"Write it like {example} (quote the plus as %2B)."
        ) from None


def cursor_of(last_id: int) -> str:
    """An opaque mark after ``last_id``: clients hand it back, and need not know what is in it."""
    return base64.urlsafe_b64encode(f"id:{last_id}".encode()).decode().rstrip("=")


def after(cursor: str | None) -> int | None:
    """The id that :func:`cursor_of` was given."""
    if cursor is None:
        return None
    try:
        kind, _, digits = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(":")
        if kind == "id" and digits.isdigit() and 0 < int(digits) <= BIGINT:
            return int(digits)
    except ValueError:
        pass
    raise RequestError("The cursor is not one of ours.", "Hand back `next` of the page before, unchanged.")


def page(items: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """A page of at most ``limit`` out of the ``limit + 1`` asked for, with the way to the next one."""
    shown = list(items[:limit])
    return {"items": shown, "next": cursor_of(shown[-1]["id"]) if len(items) > limit else None}
