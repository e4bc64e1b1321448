"""What happened -> the words of a message: read on a phone, at night, by somebody who has to decide whether to get up.

Names of files and machines come from strangers, and chats do things with text: whatever would call people together,
make a link or an element of a page is written with letters that look alike. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from appliance.names import DEMO, escaped, printable
from appliance.notify_causes import AlarmCause, Cause, EventCause, FileCause, NoticeKind

# What the strictest of the usual services takes (2,000 characters with the title), with some room.
BODY = 1800
TITLE = 120
LINES = 20
LINE = 240

_LOOK_ALIKE = str.maketrans({"@": "＠", "<": "‹", ">": "›", "[": "(", "]": ")", "`": "'"})
_SHORT_RULES = {
    "not_null": "empty",
    "type": "not of its type",
    "not_finite": "no finite number",
    "range": "out of range",
    "category": "not a known word",
    "pattern": "not in its form",
    "cells": "cells that do not fit the header",
    "cut_off": "cut off",
    "encoding": "unreadable characters",
    "duplicate_row": "repeated rows",
    "time": "no valid time",
    "machine": "no name of a machine",
    "formula": "like a formula",
    "missing_column": "column missing",
}
_PLURALS: Mapping[NoticeKind, tuple[str, str, str]] = {
    "alarm": ("alarm", "alarms", "Alarms"),
    "file": ("bad file", "bad files", "Files"),
    "event": ("fault of the box", "faults of the box", "The box itself"),
}

Tone = Literal["failure", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Message:
    """``title`` of at most TITLE characters on one line, ``body`` of at most BODY."""

    title: str
    body: str
    tone: Tone = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the box stands: its name, its clock, and where people find its pages."""

    site: str
    timezone: str
    url: str

    def time(self, moment: datetime) -> str:
        """In plant time: 24 Nov 02:14."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        return f"{local.day} {_MONTHS[local.month - 1]} {local:%H:%M}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def single(place: Place, cause: Cause) -> Message:
    """The message of one cause: what, why, what to do, link."""
    match cause:
        case AlarmCause():
            return _alarm(place, cause)
        case FileCause():
            return _file(place, cause)
        case EventCause():
            return _event(place, cause)


def digest(
    place: Place,
    shown: Sequence[tuple[NoticeKind, Cause]],
    counts: Mapping[NoticeKind, int],
    older: tuple[int, datetime, datetime] | None = None,
) -> Message:
    """Many in one. ``shown``: those that get a line, grouped by kind; ``counts``: all of each kind that are told here.

    ``older``: how many more have waited so long that they are only counted, and the first and last moment of them.
    Lines that find no room are counted too.
    """
    end = [place.url]
    if older is not None:
        number, first, last = older
        span = f"from {place.time(first)} to {place.time(last)}" if number > 1 else f"of {place.time(first)}"
        end.insert(0, f"{_count(number, 'older message', 'older messages')} {span}: only counted here.")
    room = BODY - sum(len(line) + 1 for line in end) - 40
    lines: list[str] = []
    told, group = 0, None
    for kind, cause in shown[:LINES]:
        new = [_PLURALS[kind][2]] if kind != group else []
        new.append(f"- {shortened(line(place, cause), LINE)}")
        if sum(len(text) + 1 for text in (*lines, *new)) > room:
            break
        lines += new
        told, group = told + 1, kind
    total = sum(counts.values())
    if told < total:
        lines.append(f"and {total - told:,} more")
    parts = [_count(counts[kind], *_PLURALS[kind][:2]) for kind in _PLURALS if counts.get(kind)]
    if not parts and older is not None:
        parts = [_count(older[0], "older message", "older messages")]
    tone: Tone = "failure" if counts.get("alarm") else "warning"
    return Message(f"{place.site}: {', '.join(parts)}", "\n".join([*lines, *end]), tone)


def trial(place: Place, kinds: str) -> Message:
    """``kinds``: of what this target is told."""
    said = f"If you can read this, messages of this box reach you here: {kinds}. Nothing has to be done."
    return Message(f"{place.site}: test message", f"{said}\n{place.url}", "info")


def line(place: Place, cause: Cause) -> str:
    """The cause on one line."""
    match cause:
        case AlarmCause():
            head = f"{_machine(cause)}: {_why(cause)}; {_chance(cause)}, since {place.time(cause.opened_at)}."
            return " ".join(part for part in (head, _over(place, cause), _action(cause)) if part)
        case FileCause():
            what = "refused" if cause.reason else f"{cause.rows_bad:,} of {cause.rows_in:,} rows bad"
            return f"{tame(cause.name, 80)}{_from(cause)}: {what}, {place.time(cause.arrived_at)}"
        case EventCause():
            title = _alert_title(cause)
            return f"{f'{title}: ' if title else ''}{tame(cause.message, 180)} ({place.time(cause.at)})"


def tame(text: object, limit: int) -> str:
    """Words of strangers on one line: nothing invisible, nothing that a chat would act upon, not too long."""
    # A lone half of a character can be in no message; the database has none, but not all that is said comes from there.
    whole = str(text).encode("utf-8", "replace").decode()
    shown = " ".join(printable(whole).split())
    shown = "".join(escaped(c) if unicodedata.category(c) in ("Cf", "Co", "Cn") else c for c in shown)
    return shortened(re.sub(r":(?=//)", ": ", shown.translate(_LOOK_ALIKE)), limit)


def markdown(text: str) -> str:
    """A message of ours for services that know nothing but Markdown: each line stays one, the link can be touched."""
    found = ""
    for line_ in text.split("\n"):
        if line_.startswith(("http://", "https://")):
            said = f"[Open on the box]({line_.replace('(', '%28').replace(')', '%29')})"
        else:
            bullet = "- " if line_.startswith("- ") else ""
            # What would begin a heading, a list or a table.
            said = bullet + re.sub(r"^(\d*)([#+=>|.)-])", r"\1\\\2", _escaped(line_.removeprefix("- ")))
        is_list = said.startswith("- ") and found.rpartition("\n")[2].startswith("- ")
        found += ("\n" if is_list else "\n\n" if found else "") + said
    return found


def _escaped(text: str) -> str:
    """Within a word an underscore is one; elsewhere it would make what follows slanted."""
    escapes = r"[\\*~]|&(?=#?\w{1,32};)|(?<![^\W_])_|_(?![^\W_])"
    return re.sub(escapes, r"\\\g<0>", text)


def shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _alarm(place: Place, cause: AlarmCause) -> Message:
    over = _over(place, cause)
    was = "was heading for failure, over" if over else "is heading for failure"
    lines = [
        f"{_why(cause)}.",
        f"{_machine(cause)}, {_chance(cause)}, since {place.time(cause.opened_at)} ({place.timezone}).",
        over,
        f"What to do: {action}" if (action := _action(cause)) and not over else "",
        f"{place.url}/predictions/{cause.first_prediction_id}" if cause.first_prediction_id is not None else place.url,
    ]
    tone: Tone = "info" if over else "failure"
    return _message(place, f"{tame(cause.machine, 60)} {was}", lines, tone)


def _file(place: Place, cause: FileCause) -> Message:
    name = tame(cause.name, 80)
    came = f"{name}{_from(cause)}, arrived {place.time(cause.arrived_at)} ({place.timezone})"
    link = f"{place.url}/files/{cause.file_id}{'/report' if cause.has_report else ''}"
    if cause.reason is not None:
        lines = [
            tame(cause.sentence or cause.reason, 500),
            f"{came}. None of its rows were taken; it is kept in quarantine.",
            link,
        ]
        return _message(place, f"file {shortened(name, 50)} was refused", lines)
    often = "; ".join(_issue(*issue) for issue in cause.issues)
    lines = [
        f"Most often: {often}." if often else "",
        f"{came}. The other {cause.rows_in - cause.rows_bad:,} rows were taken.",
        "What to do: look at the report, put the cause right, and drop the mended bad rows again.",
        link,
    ]
    bad = f"{cause.rows_bad:,} of {cause.rows_in:,} rows are bad in {shortened(name, 50)}"
    return _message(place, bad, lines)


def _event(place: Place, cause: EventCause) -> Message:
    if title := _alert_title(cause):
        return _alert(place, cause, title)
    lines = [
        tame(cause.message, 700),
        f"At {place.time(cause.at)} ({place.timezone}).",
        "What to do: run 'appliance doctor' on the box; it names what is wrong and the way out.",
        f"{place.url}/files/{cause.file_id}" if cause.file_id is not None else place.url,
    ]
    return _message(place, "the box needs a look", lines)


def _alert(place: Place, cause: EventCause, title: str) -> Message:
    """Of a rule of Grafana's, which brings its own words for what to do."""
    action = tame(cause.details.get("action") or "", 400)
    lines = [
        tame(cause.message, 700),
        f"At {place.time(cause.at)} ({place.timezone}).",
        f"What to do: {action}" if action else "",
        place.url,
    ]
    return _message(place, title, lines)


def _alert_title(cause: EventCause) -> str:
    """'' where it is no alert. Of a drill it is said first, lest somebody runs."""
    if cause.kind != "alert":
        return ""
    title = tame(cause.details.get("title") or "an alert", 80)
    match cause.details.get("drill"):
        case "rows":
            return f"drill, nothing is wrong: {title}"
        case "meanwhile":
            return f"during a drill: {title}"
        case _:
            return title


def _message(place: Place, title: str, lines: Sequence[str], tone: Tone = "warning") -> Message:
    return Message(shortened(f"{place.site}: {title}", TITLE), "\n".join(part for part in lines if part), tone)


def _machine(cause: AlarmCause) -> str:
    return f"{tame(cause.machine, 60)} ({tame(cause.profile, 40)})"


def _why(cause: AlarmCause) -> str:
    """Mode and reason in plant units: ``Overstrain: Strain 12,000 min N.m, limit 11,000``."""
    title, text = (tame(cause.details.get(name) or "", 300).rstrip(".") for name in ("title", "text"))
    if not text:
        return title or "No reason is known"
    return text if text.startswith(title) else f"{title}: {text}"


def _chance(cause: AlarmCause) -> str:
    return f"probability {cause.probability:.0%}"


def _action(cause: AlarmCause) -> str:
    return tame(cause.details.get("action") or "", 400)


def _over(place: Place, cause: AlarmCause) -> str:
    if cause.closed_at is None:
        return ""
    why = "an outcome was reported" if cause.close_reason == "outcome" else "it runs calmly again"
    return f"Over since {place.time(cause.closed_at)}: {why}."


def _from(cause: FileCause) -> str:
    origin = f"{tame(cause.origin, 60)}, " if cause.origin not in ("", DEMO) else ""
    return f" ({origin}{tame(cause.profile, 40)})"


def _issue(rule: str, column: str, count: int) -> str:
    words = _SHORT_RULES.get(rule, tame(rule, 40).replace("_", " "))
    return f"{tame(column, 60)} {words} ({count:,})".strip()


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
