"""What messages tell of, as the store hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

# What a notice is of, and the word under which a target asks for it.
NoticeKind = Literal["alarm", "file", "event"]
Wish = Literal["alarm", "quality", "box"]
WISHES: dict[NoticeKind, Wish] = {"alarm": "alarm", "file": "quality", "event": "box"}


@dataclass(frozen=True, slots=True)
class AlarmCause:
    """``details``: mode, title, text, action, as :mod:`appliance.predict` wrote them."""

    machine: str
    profile: str
    opened_at: datetime
    probability: float
    first_prediction_id: int | None
    details: Mapping[str, Any]
    closed_at: datetime | None
    close_reason: str | None


@dataclass(frozen=True, slots=True)
class FileCause:
    """``reason`` is that of a quarantined file; ``issues``: (rule, column, count), the most frequent first."""

    file_id: int
    name: str
    origin: str
    profile: str
    arrived_at: datetime
    rows_in: int
    rows_bad: int
    reason: str | None
    sentence: str | None
    has_report: bool
    issues: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EventCause:
    """``file_id``: of the file that it is about, where it is about one. ``details``: as whoever noted it wrote them."""

    kind: str
    message: str
    at: datetime
    file_id: int | None
    details: Mapping[str, Any] = field(default_factory=dict)


Cause = AlarmCause | FileCause | EventCause


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notice on its way to one target. ``is_open``: of an alarm that still goes on."""

    notice_id: int
    kind: NoticeKind
    created_at: datetime
    is_open: bool = False
