"""Which past predictions are wanted: as widgets, as the page's address, and as the API is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import streamlit as st

from ui import links, session, words
from ui.session import Here
from ui.texts import t

# Hours and days up to now, days of plant time, everything, and times of one's own.
SPANS = ("day", "today", "yesterday", "week", "all", "own")
SOURCES = ("all", "webapp", "scheduled", "api")
VERDICTS = ("all", "failing", "passing")
# As the address names them, which is as the API does.
NAMES = ("span", "from", "to", "profile", "machine", "source", "verdict", "min_probability", "file")
_FIRST: Mapping[str, Any] = {"span": SPANS[0], "source": "all", "verdict": "all"}
_LONGEST = 200
_WRITTEN = "past_written"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What stands in the widgets; times are plant time without saying so, and the least probability is in per cent."""

    span: str = SPANS[0]
    from_: datetime | None = None
    to: datetime | None = None
    profile: str | None = None
    machine: str | None = None
    source: str = "all"
    verdict: str = "all"
    least: float | None = None
    file: int | None = None

    def between(self, zone: ZoneInfo, now: datetime) -> tuple[datetime | None, datetime | None]:
        """From when on, and until when, as moments."""
        midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        match self.span:
            case "day":
                return now - timedelta(days=1), None
            case "today":
                return midnight, None
            case "yesterday":
                # By the calendar: a day on which clocks change has 23 or 25 hours.
                return midnight - timedelta(days=1), midnight
            case "week":
                return now - timedelta(days=7), None
            case "own":
                return _in(zone, self.from_), _in(zone, self.to)
        return None, None

    def filters(self, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
        """What the API's client is asked with."""
        since, until = self.between(zone, now)
        return {
            "from_": since,
            "to": until,
            "profile": self.profile,
            "machine": self.machine,
            "source": None if self.source == "all" else self.source,
            "verdict": None if self.verdict == "all" else self.verdict,
            "min_probability": None if self.least is None else self.least / 100,
            "file": self.file,
        }

    def address(self) -> dict[str, str]:
        """What is not as at first, as a question of the page's address."""
        own = self.span == "own"
        said: dict[str, Any] = {
            "span": self.span,
            "from": self.from_.isoformat(timespec="minutes") if own and self.from_ else None,
            "to": self.to.isoformat(timespec="minutes") if own and self.to else None,
            "profile": self.profile,
            "machine": self.machine,
            "source": self.source,
            "verdict": self.verdict,
            "min_probability": None if not self.least else f"{self.least / 100:g}",
            "file": self.file,
        }
        return {name: str(value) for name, value in said.items() if value is not None and value != _FIRST.get(name)}


@dataclass(frozen=True, slots=True)
class Read:
    """What an address asks for by widget, and the names of what it asks that nobody understands."""

    values: dict[str, Any] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def read(question: Mapping[str, str]) -> Read:
    """The other way round; a filter that is not understood must not widen the answer unseen."""
    found = Read(dict.fromkeys(NAMES) | dict(_FIRST))
    for name, text in question.items():
        value = _value(name, text) if name in NAMES else None
        if value is None:
            found.unread.append(name)
        else:
            found.values[name] = value
    if "from" in question or "to" in question:
        found.values["span"] = "own"
    return found


def ask(here: Here) -> Wanted:
    """The widgets. They begin as the address says, and the address follows them, so that it can be sent."""
    question = st.query_params.to_dict()
    if question != st.session_state.get(_WRITTEN) or _key("span") not in st.session_state:
        found = read(question)
        for name in NAMES:
            st.session_state[_key(name)] = found.values[name]
        if found.unread:
            st.warning(t("past.unread", names=words.plain(", ".join(found.unread))), icon=":material/help:")
    wanted = _widgets(here)
    address = wanted.address()
    if address != question:
        st.query_params.from_dict(address)
    st.session_state[_WRITTEN] = address
    return wanted


def back() -> None:
    """To the list, as it was asked for last."""
    asked: dict[str, str] = st.session_state.get(_WRITTEN, {})
    links.link("predictions", t("pages.predictions"), icon=":material/history:", **asked)


def export(here: Here, filters: Mapping[str, Any], *, readings: bool) -> str:
    """Where the browser finds all that fits as CSV: straight from the API, so that a screen's memory does not grow."""
    given = {name.rstrip("_"): _text(value) for name, value in filters.items() if value is not None}
    if readings:
        given["readings"] = "true"
    return f"{here.api_url}/predictions/export{'?' if given else ''}{urlencode(given)}"


def _widgets(here: Here) -> Wanted:
    since = until = None
    span = _choice("span", SPANS, _begin_own)
    if span == "own":
        with st.container(horizontal=True, vertical_alignment="bottom"):
            since, until = _times(here)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = _choice("source", SOURCES)
        verdict = _choice("verdict", VERDICTS)
        profile = _profile(here)
        machine = _machine(here, profile)
        # A field for per cents: a slider is hard to set on a phone.
        least = st.number_input(
            t("past.least"), 0.0, 100.0, None, 5.0, format="%g", key=_key("min_probability"), width=150
        )
    file = st.session_state.get(_key("file"))
    if file is not None:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(t("past.of_file", id=file), width="content")
            st.button(t("past.any_file"), icon=":material/close:", key="past_any_file", on_click=_any_file)
    return Wanted(span, since, until, profile, machine, source, verdict, least or None, file)


def _choice(name: str, known: tuple[str, ...], changed: Callable[[], None] | None = None) -> str:
    found = st.segmented_control(
        t(f"past.{name}"),
        known,
        format_func=lambda value: t(f"past.{name}s.{value}"),
        key=_key(name),
        on_change=changed,
        required=True,
        wrap=True,
    )
    return str(found or _FIRST[name])


def _begin_own() -> None:
    """Times of one's own begin with today: all that there is would be asked for else."""
    if st.session_state[_key("span")] == "own" and not any(st.session_state.get(_key(name)) for name in ("from", "to")):
        midnight = words.now().astimezone(session.zone()).replace(hour=0, minute=0, second=0, microsecond=0)
        st.session_state[_key("from")] = midnight.replace(tzinfo=None)


def _times(here: Here) -> tuple[datetime | None, datetime | None]:
    since, until = (
        st.datetime_input(
            t(f"past.{name}", zone=here.zone.key), value=None, key=_key(name), step=60, width=230, format="YYYY-MM-DD"
        )
        for name in ("from", "to")
    )
    return since, until


def _profile(here: Here) -> str | None:
    titles = {one["name"]: one["title"] for one in here.profiles()}
    held = st.session_state.get(_key("profile"))
    names = [*titles, *([held] if held and held not in titles else [])]
    if len(titles) < 2 and (held is None or held in titles):
        return str(held) if held else None
    found: str | None = st.selectbox(
        t("quality.profile"),
        names,
        index=None,
        format_func=lambda name: titles.get(name, name),
        placeholder=t("quality.all"),
        key=_key("profile"),
        width=260,
    )
    return found


def _machine(here: Here, profile: str | None) -> str | None:
    names = sorted({one["name"] for one in here.api.machines(profile)})
    held = st.session_state.get(_key("machine"))
    found: str | None = st.selectbox(
        t("equipment.machine"),
        [*names, *([held] if held and held not in names else [])],
        index=None,
        placeholder=t("quality.all"),
        key=_key("machine"),
        width=200,
    )
    return found


def _any_file() -> None:
    st.session_state[_key("file")] = None


def _value(name: str, text: str) -> Any:
    """None where it is not understood."""
    text = text.strip()[:_LONGEST]
    match name:
        case "span":
            return text if text in SPANS else None
        case "source":
            return text if text in SOURCES else None
        case "verdict":
            return text if text in VERDICTS else None
        case "from" | "to":
            try:
                return datetime.fromisoformat(text).replace(tzinfo=None, second=0, microsecond=0)
            except ValueError:
                return None
        case "min_probability":
            try:
                share = float(text)
            except ValueError:
                return None
            return round(share * 100, 6) if 0 <= share <= 1 else None
        case "file":
            return int(text) if text.isascii() and text.isdecimal() and 0 < int(text) < 2**63 - 1 else None
    return text or None


def _in(zone: ZoneInfo, at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=zone)


def _text(value: Any) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def _key(name: str) -> str:
    return f"past_{name}"
