"""Past predictions: how many there were over the time, each of them, and all that fit to take home."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import streamlit as st

from ui import bars, frame, links, past, words
from ui.session import Here
from ui.texts import t

ROWS = 25
_WALK = "past_walk"
# Beyond it the chart begins with the first row, whatever was asked for.
_LONG = timedelta(days=100)


def show(here: Here) -> None:
    frame.heading(here, t("pages.predictions"))
    wanted = past.ask(here)
    filters = wanted.filters(here.zone, words.now())
    with frame.guarded():
        # One after the other: a question that the API refuses is refused once.
        if _counts(here, wanted, filters):
            _list(here, wanted, filters)


def _counts(here: Here, wanted: past.Wanted, filters: dict[str, Any]) -> bool:
    """Hour by hour or day by day, and the way to all of them; False where there are none."""
    found = here.api.prediction_counts(**filters)
    count = found["passing"] + found["failing"]
    if not count:
        st.info(t("past.none") if wanted.span == "all" else t("past.none_then"), icon=":material/info:")
        return False
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(t("past.count", n=count, failing=words.number(found["failing"])), width="content")
        for name, readings in (("csv", False), ("csv_readings", True)):
            address = past.export(here, filters, readings=readings)
            st.link_button(t(f"past.{name}"), address, icon=":material/download:", help=t(f"past.{name}_help"))
    hourly = found["by"] == "hour"
    rows = [_bar(here, row, hourly) for row in found["items"]]
    bars.stacked(rows, _axis(here, hourly, *_ends(here, found, filters)))
    return True


def _bar(here: Here, row: dict[str, Any], hourly: bool) -> dict[str, Any]:
    at = words.moment(row["at"])
    assert at is not None
    local = at.astimezone(here.zone)
    return {
        # Without a zone: drawn as it stands, whatever the browser's own zone is.
        "at": f"{local:%Y-%m-%dT%H:%M:%S}",
        "title": f"{local:%Y-%m-%d %H:%M}" if hourly else f"{local:%Y-%m-%d}",
        "passing": row["passing"],
        "failing": row["failing"],
    }


def _ends(here: Here, found: dict[str, Any], filters: dict[str, Any]) -> tuple[datetime, datetime]:
    """From where to where the chart goes, in whole hours or days: over all the time that is asked for, so that gaps are
    seen, unless that is years."""
    bins = [at for row in found["items"] if (at := words.moment(row["at"])) is not None]
    last = max(min(filters["to"] or words.now(), words.now()), bins[-1])
    since = filters["from_"]
    first = since if since is not None and last - since <= _LONG else bins[0]
    whole = {"minute": 0, "second": 0, "microsecond": 0} | ({} if found["by"] == "hour" else {"hour": 0})
    step = timedelta(hours=1) if found["by"] == "hour" else timedelta(days=1)
    # In the clock of the plant, as the bars are drawn.
    first, last = (at.astimezone(here.zone).replace(tzinfo=None, **whole) for at in (first, last))
    if filters["to"] is None or _in_plant(here, filters["to"]) > last:
        last += step
    return first, max(last, first + step)


def _in_plant(here: Here, at: datetime) -> datetime:
    return at.astimezone(here.zone).replace(tzinfo=None)


def _axis(here: Here, hourly: bool, first: datetime, last: datetime) -> dict[str, Any]:
    days = max(1, (last - first).days)
    clock = "%H:%M" if days == 1 else "%m-%d %H:%M"
    ticks: dict[str, Any] = {} if hourly else {"tickCount": {"interval": "day", "step": -(-days // 12)}}
    return {
        "field": "at",
        "type": "temporal",
        "timeUnit": "yearmonthdatehours" if hourly else "yearmonthdate",
        "title": t(f"past.{'hour' if hourly else 'day'}", zone=here.zone.key),
        "scale": {"domain": [_moment(first), _moment(last)]},
        "axis": {"format": clock if hourly else "%Y-%m-%d", "labelOverlap": True, **ticks},
    }


def _moment(at: datetime) -> dict[str, int]:
    """As Vega writes a moment of the browser's own clock, which here says plant time."""
    return {"year": at.year, "month": at.month, "date": at.day, "hours": at.hour}


def _list(here: Here, wanted: past.Wanted, filters: dict[str, Any]) -> None:
    """A page of them, the newest first."""
    walk = _walk(wanted)
    page = here.api.prediction_page(limit=ROWS, cursor=walk[-1], **filters)
    several = len({row["profile"] for row in page["items"]}) > 1
    titles = {one["name"]: one["title"] for one in here.profiles()} if several else {}
    with st.container(border=True, gap="xsmall"):
        for row in page["items"]:
            _line(here, row, titles)
    first = (len(walk) - 1) * ROWS + 1
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if len(walk) > 1:
            st.button(t("past.newest"), icon=":material/first_page:", key="past_newest", on_click=_newest)
            st.button(t("past.newer"), icon=":material/chevron_left:", key="past_newer", on_click=_newer)
        said = t("past.shown", first=words.number(first), last=words.number(first + len(page["items"]) - 1))
        st.caption(said if page["items"] else t("past.no_more"), width="content")
        if page["next"] is not None:
            st.button(
                t("past.older"),
                icon=":material/chevron_right:",
                key="past_older",
                on_click=_older,
                args=(page["next"],),
            )


def _line(here: Here, row: dict[str, Any], titles: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        at = words.when(row["predicted_at"], here.zone, seconds=True)
        machine = words.plain(row["machine"] or t("why.no_machine"))
        links.link("prediction", t("past.link", at=at, machine=machine), id=row["id"])
        state = "failing" if row["failing"] else "passing"
        st.markdown(words.badge(state, row.get("verdict", t(f"chart.{state}"))), width="content")
        st.caption(_facts(here, row, titles), width="content")


def _facts(here: Here, row: dict[str, Any], titles: dict[str, str]) -> str:
    said = [t("overview.probability", p=words.probability(row["probability"])), t(f"past.sources.{row['source']}")]
    said += [words.plain(titles.get(row["profile"], row["profile"]))] if titles else []
    if _apart(row["read_at"], row["predicted_at"]):
        said.append(t("past.read", at=words.when(row["read_at"], here.zone, seconds=True)))
    said += [t(f"past.{name}") for name in ("late", "outside") if row[name]]
    return " · ".join(said)


def _apart(read_at: str | datetime | None, predicted_at: str | datetime | None) -> bool:
    """Whether it is worth saying when it was read: what is predicted within a minute is of now."""
    read, predicted = words.moment(read_at), words.moment(predicted_at)
    return read is not None and predicted is not None and abs((predicted - read).total_seconds()) >= 60


def _walk(wanted: past.Wanted) -> list[str | None]:
    """The cursors of the pages up to this one; another question begins at its newest page."""
    asked, walk = st.session_state.get(_WALK, (None, [None]))
    if asked != wanted.address():
        walk = [None]
        st.session_state[_WALK] = (wanted.address(), walk)
    found: list[str | None] = walk
    return found


def _older(cursor: str) -> None:
    st.session_state[_WALK][1].append(cursor)


def _newer() -> None:
    st.session_state[_WALK][1].pop()


def _newest() -> None:
    del st.session_state[_WALK][1][1:]
