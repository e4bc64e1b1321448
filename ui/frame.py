"""What every page has around it: a title and the age of its data, errors as sentences, and patience with an API that is
away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from html import escape
from pathlib import Path
from typing import NoReturn

import streamlit as st

from appliance.errors import ApiAway, ApplianceError, NotReady, RowsRefused, StoreAway, Unauthorized
from ui import links, session, words
from ui.session import Here
from ui.texts import t

# How often a page looks whether what was away is back.
_WAIT_SECONDS = 3
_DONE = "_done"
AWAY = (ApiAway, StoreAway, NotReady)
# Nothing new for so long is worth a sign: files come every minute or so.
OLD_SECONDS = 3600


@contextmanager
def guarded(*, waits: bool = True) -> Iterator[None]:
    """Errors of the API become a sentence; what is away is waited for, and the page comes back by itself. ``waits``:
    whether somebody has to wait; what renews itself does not need it."""
    try:
        yield
    except Unauthorized:
        signed_out()
    except AWAY as error:
        away(error, waits=waits)
    except ApplianceError as error:
        refused(error)


def refused(error: ApplianceError) -> None:
    """The error in one sentence, with its way out; the rows that are meant, where there are some."""
    st.error(_sentence(error), icon=":material/error:")
    if isinstance(error, RowsRefused):
        for row in error.rows[:10]:
            st.markdown(f"- {words.plain('; '.join(row.get('reasons', ())))}")


def away(error: ApplianceError, *, waits: bool = True) -> None:
    """The sentence, and a look every few seconds whether it is over."""
    at = words.when(words.now(), session.zone(), seconds=True)
    st.warning(f"{_sentence(error)}\n\n{t('frame.away', at=at)}", icon=":material/cloud_off:")

    if not waits:
        return
    first = True

    def look() -> None:
        nonlocal first
        if first:
            first = False  # it was away just now
            return
        try:
            session.ping(ready=not isinstance(error, ApiAway))
        except ApplianceError:
            return
        st.rerun(scope="app")

    st.fragment(look, run_every=_WAIT_SECONDS)()


def signed_out() -> None:
    """One sentence and the way in, which leads back to this very page."""
    st.markdown(t("frame.signed_out"))
    # Streamlit's own button would open a window beside this one, which would stay signed out.
    st.html(f'<a class="way-in" href="{escape(links.sign_in())}">{escape(t("frame.sign_in"))}</a>')


def heading(here: Here, title: str, *, at: str | None = None) -> None:
    """The title of a page and the age of what it shows; ``at`` is its own newest time, where it is not the plant's."""
    st.title(title, anchor=False)
    if at is not None:
        st.caption(t("frame.age", age=words.age(at), at=words.when(words.now(), here.zone, seconds=True)))
    else:
        ages(here)


def ages(here: Here) -> None:
    """How old the plant's data is."""
    known = here.api.ages()
    now = words.moment(known["now"])
    shown = words.when(now, here.zone, seconds=True)
    if known["read_at"] is None and known["arrived_at"] is None:
        st.caption(t("frame.no_data", at=shown))
        return
    said = {name: words.age(known[name], now) for name in ("read_at", "arrived_at", "predicted_at")}
    newest = max(filter(None, (words.moment(known["arrived_at"]), words.moment(known["predicted_at"]))), default=now)
    text = t("frame.ages", at=shown, **said)
    if now is not None and newest is not None and (now - newest).total_seconds() > OLD_SECONDS:
        st.warning(f"{t('frame.old', age=words.age(newest, now))} {text}", icon=":material/hourglass_disabled:")
    else:
        st.caption(text)


def live(body: Callable[[Here], None], *, every: float = 10.0) -> None:
    """Draw ``body`` and again every few seconds, by itself alone: what a person types elsewhere on the page stays.

    Widgets to type in do not belong into ``body``. It is given a fresh :class:`Here` each time.
    """

    def draw() -> None:
        with guarded(waits=False):
            body(session.here())

    st.fragment(draw, run_every=every)()


def done(text: str) -> NoReturn:
    """Something was done: draw the page anew with a word about it."""
    st.session_state[_DONE] = text
    st.rerun(scope="app")


def told() -> None:
    """The word that :func:`done` left."""
    if text := st.session_state.pop(_DONE, ""):
        st.success(words.plain(text), icon=":material/check_circle:")


def style() -> None:
    """Denser than Streamlit is by itself, and fit for paper."""
    st.html(f"<style>{_style()}</style>")


@cache
def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def _sentence(error: ApplianceError) -> str:
    return words.plain(str(error))
