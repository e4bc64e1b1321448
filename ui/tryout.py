"""What if: a slider for each reading of a row. It answers as it is moved, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from ui import chart, form, frame, session, why, words
from ui.session import Here
from ui.texts import t

_ACROSS = 2
_STEPS = 200
_KINDS = ("number", "integer", "category", "boolean")


def show(
    key: str,
    profile: Mapping[str, Any],
    machine: str | None,
    row: Mapping[str, Any],
    said: Mapping[str, Any],
    use: Callable[[Mapping[str, Any]], None],
) -> None:
    """``row`` was explained by ``said``; ``use`` takes the row that was tried out. By itself alone, so that it is quick."""

    def draw() -> None:
        with frame.guarded(waits=False):
            _body(session.here(), key, profile, machine, row, said, use)

    st.subheader(t("tryout.title"), anchor=False)
    st.caption(t("tryout.how"))
    st.fragment(draw)()


def _body(
    here: Here,
    key: str,
    profile: Mapping[str, Any],
    machine: str | None,
    row: Mapping[str, Any],
    said: Mapping[str, Any],
    use: Callable[[Mapping[str, Any]], None],
) -> None:
    readings = [c for c in form.columns(profile) if c["role"] == "reading" and c["type"] in _KINDS]
    known = [column for column in readings if row.get(column["name"]) is not None]
    for first in range(0, len(known), _ACROSS):
        for column, place in zip(known[first : first + _ACROSS], st.columns(_ACROSS), strict=False):
            with place:
                _widget(key, column, row[column["name"]], said)
    unknown = [column["title"] for column in readings if column not in known]
    if unknown:
        st.caption(t("tryout.unknown", names=", ".join(words.plain(title) for title in unknown)))
    tried = {**row, **{c["name"]: st.session_state[f"{key}_{c['name']}"] for c in known}}
    curve = st.session_state.get(f"{key}_last")
    if tried == row and curve is None:
        return
    answer = here.api.what_if(tried, profile=profile["name"], machine=machine, curve=curve)
    _answer(row, tried, said, answer, {column["name"]: column for column in readings})
    _buttons(key, known, row, tried, use)


def _widget(key: str, column: Mapping[str, Any], value: Any, said: Mapping[str, Any]) -> None:
    name, label, last = f"{key}_{column['name']}", form.label(column), f"{key}_last"
    if name not in st.session_state:
        st.session_state[name] = value

    def moved() -> None:
        st.session_state[last] = column["name"]

    if column["type"] in ("category", "boolean"):
        known, called = form.choices(column)
        st.segmented_control(label, known, format_func=called, key=name, on_change=moved, required=True)
        return
    low, high = _range(column, value, said)
    if column["type"] == "integer":
        st.slider(label, low, high, step=1, key=name, on_change=moved)
        return
    step = 10.0 ** -column["decimals"] if column["decimals"] is not None else (high - low) / _STEPS
    places = form.digits(column, value) if column["decimals"] is not None else 3
    st.slider(label, low, high, step=step, format=f"%.{places}f", key=name, on_change=moved)


def _range(column: Mapping[str, Any], value: Any, said: Mapping[str, Any]) -> tuple[Any, Any]:
    """The range of the profile; where it says none, what the model has seen; and the value lies within in any case."""
    low, high = (column["minimum"], column["maximum"])
    seen = next((part.get("seen") for part in said["contributions"] if part["name"] == column["name"]), None)
    if seen is not None:
        low, high = (seen[0] if low is None else low), (seen[1] if high is None else high)
    low = min(value, 0 if low is None else low)
    high = max(value, 2 * abs(value) if high is None else high)
    high = high if high > low else low + 1
    return (int(low), int(high)) if column["type"] == "integer" else (float(low), float(high))


def _answer(
    row: Mapping[str, Any],
    tried: Mapping[str, Any],
    said: Mapping[str, Any],
    answer: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, Any]],
) -> None:
    with st.container(border=True, gap="small"):
        changed = [
            t(
                "tryout.change",
                title=words.plain(columns[name]["title"]),
                before=words.plain(words.amount(row[name], columns[name])),
                after=words.plain(words.amount(value, columns[name])),
            )
            for name, value in tried.items()
            if name in columns and row.get(name) != value
        ]
        st.caption(", ".join(changed) if changed else t("tryout.same"))
        why.verdict(answer)
        before, after = words.probability(said["probability"]), words.probability(answer["probability"])
        st.caption(t("tryout.before", before=before, after=after, verdict=words.plain(said["verdict"])))
        why.seen(answer)
        broken = [limit for limit in answer["limits"] if limit["broken"] and not limit["advisory"]]
        for limit in broken:
            st.markdown(f":material/warning: {t('why.limit.broken')}: {words.plain(limit['text'])}")
        if (curve := answer.get("curve")) is not None:
            chart.curve(curve, tried[curve["name"]], answer["threshold"], columns[curve["name"]])


def _buttons(
    key: str,
    known: list[dict[str, Any]],
    row: Mapping[str, Any],
    tried: Mapping[str, Any],
    use: Callable[[Mapping[str, Any]], None],
) -> None:
    def back() -> None:
        for column in known:
            st.session_state[f"{key}_{column['name']}"] = row[column["name"]]
        st.session_state.pop(f"{key}_last", None)

    with st.container(horizontal=True, gap="small"):
        st.button(t("tryout.back"), icon=":material/undo:", on_click=back, key=f"{key}_back")
        # The form may be filled only before it is drawn: by the press itself, not after it.
        if st.button(t("tryout.use"), icon=":material/north:", on_click=use, args=(tried,), key=f"{key}_use"):
            frame.done(t("tryout.used"))
