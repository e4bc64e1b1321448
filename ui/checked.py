"""A file that was looked at: what is bad in it, its good rows being predicted, and what became of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from appliance.errors import ApplianceError, NotFound, NotReady
from ui import frame, histogram, issues, links, sheet, standing, words
from ui.marks import mark
from ui.session import Here
from ui.texts import t

_BAD_AT_FIRST = 10
_AT_FIRST, _MORE, _MOST = 25, 100, 1000
# Which columns tell something of a row: what is said about its failure afterwards does not.
_ROLES = ("identifier", "reading", "context", "time")
_VERDICTS = ("failing", "passing")
# Whose rows are being predicted before this browser.
_RUNNING = "upload_running"


def counts(check: dict[str, Any]) -> str:
    return t("upload.counts", **{name: words.number(value) for name, value in check["rows"].items()})


def summary(here: Here, check: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(mark("criticality", check["criticality"]), width="content")
        said = [words.plain(check["machine"])] if check["machine"] else []
        said += [words.plain(check["profile"]), counts(check)]
        said.append(t("upload.kept", at=words.when(check["expires_at"], here.zone)))
        st.caption(" · ".join(said), width="content")
    with st.container(horizontal=True, gap="medium"):
        for name, value in check["rows"].items():
            st.metric(t(f"upload.figure.{name}"), words.number(value), width="content")
        if check["predicted"]["rows"]:
            for name in ("rows", "failing"):
                st.metric(t(f"upload.figure.{name}"), words.number(check["predicted"][name]), width="content")


def bad(here: Here, check: dict[str, Any]) -> None:
    """Broken rules with their advice, then the rows themselves, to be read here or mended elsewhere."""
    st.subheader(t("upload.bad"), anchor=False)
    if not check["issues"]:
        st.caption(t("file.no_issues"))
        return
    issues.listed(here, check["profile"], check["issues"])
    count = check["rows"]["bad"]
    if not count:
        return
    st.markdown(t("upload.mend"))
    st.link_button(t("file.download", n=count), _address(here, check, "bad"), icon=":material/download:")
    rows, key = check["rejected"], f"upload_bad_{check['id']}"
    # Once there are predictions they are what one came for.
    few = count <= _BAD_AT_FIRST and not check["predicted"]["rows"]
    with st.expander(t("upload.bad_rows"), expanded=few, icon=":material/table_rows:"):
        most = st.session_state.get(key, _BAD_AT_FIRST)
        heads = [t("upload.head.row"), t("upload.head.reasons"), *check["header"]]
        sheet.draw(
            heads,
            (
                (
                    words.number(row["row"]),
                    "\n".join(row["reasons"]),
                    *(words.NONE if row["cells"][name] is None else row["cells"][name] for name in check["header"]),
                )
                for row in rows[:most]
            ),
        )
        if len(rows) > most:
            if st.button(t("upload.more"), key=f"{key}_more"):
                st.session_state[key] = len(rows)
                st.rerun()
        elif count > len(rows):
            st.caption(t("upload.only_first", n=len(rows)))


def predict(here: Here, check: dict[str, Any]) -> None:
    """Part by part, with a bar; whoever leaves before the end finds the rest still to be predicted."""
    if check["done"]:
        if not check["rows"]["good"]:
            st.info(t("upload.nothing_good"), icon=":material/info:")
        return
    st.subheader(t("upload.good"), anchor=False)
    if st.session_state.get(_RUNNING) == check["id"]:
        _run(here, check)
    else:
        _ask(here, check)


def _ask(here: Here, check: dict[str, Any]) -> None:
    if not standing.known(here, "upload_who"):
        return
    left = check["rows"]["good"] - check["predicted"]["rows"]
    begun = check["predicted"]["rows"] > 0
    label = t("upload.go_on", n=left) if begun else t("upload.predict", n=left)
    if st.button(label, type="primary", icon=":material/play_arrow:", key="upload_predict"):
        st.session_state[_RUNNING] = check["id"]
        st.rerun()
    st.caption(t("upload.stores"))


def _run(here: Here, check: dict[str, Any]) -> None:
    st.button(t("upload.stop"), icon=":material/stop:", key="upload_stop", on_click=_stop)
    bar = st.progress(0.0)
    try:
        while True:
            done, good = check["predicted"]["rows"], check["rows"]["good"]
            bar.progress(done / good, t("upload.progress", done=words.number(done), n=good))
            if check["done"]:
                break
            check = here.api.predict_next(check["id"])
    except frame.AWAY:
        raise  # it goes on by itself when that is over
    except ApplianceError as error:
        _stop()
        frame.refused(error)
        _ask(here, check)
        return
    _stop()
    frame.done(t("upload.predicted", n=good))


def _stop() -> None:
    st.session_state.pop(_RUNNING, None)


def result(here: Here, check: dict[str, Any]) -> None:
    told, profile = check["predicted"], _profile(here, check)
    st.subheader(t("upload.result"), anchor=False)
    if not check["done"]:
        st.caption(t("upload.not_all", n=check["rows"]["good"] - told["rows"]))
    said = [t("upload.threshold", p=words.threshold(check["threshold"]))]
    titles = {mode["name"]: mode["title"] for mode in profile["modes"]}
    modes = (f"{words.plain(titles.get(mode['name'], mode['name']))} {mode['rows']:,}" for mode in told["modes"])
    said += [t("upload.modes", modes=", ".join(modes))] if told["modes"] else []
    said += [t("upload.outside", n=told["outside"])] if told["outside"] else []
    st.caption(" ".join(said))
    histogram.draw(told["histogram"], check["threshold"])
    if check["done"]:
        with st.container(horizontal=True, gap="small"):
            whole = _address(here, check, "result")
            st.link_button(t("upload.whole"), whole, icon=":material/download:", type="primary")
            st.link_button(t("upload.parquet"), f"{whole}?format=parquet", icon=":material/download:")
        st.caption(t("upload.whole_help"))
    _rows(here, check, profile)


def _rows(here: Here, check: dict[str, Any], profile: dict[str, Any]) -> None:
    verdict = st.segmented_control(
        t("upload.which"), _VERDICTS, format_func=lambda name: t(f"upload.only.{name}"), key="upload_verdict"
    )
    key = f"upload_rows_{check['id']}"
    most = st.session_state.get(key, _AT_FIRST)
    # One more than is shown says whether there are more.
    found = here.api.file_check_rows(check["id"], limit=min(most + 1, _MOST), verdict=verdict)
    if not found:
        st.caption(t("upload.none"))
        return
    shown = found[:most]
    said = set().union(*(row["values"] for row in shown))
    columns = [column for column in profile["columns"] if column["role"] in _ROLES and column["name"] in said]
    machines = any(row["machine"] for row in shown) and not check["machine"]
    heads = [t(f"upload.head.{name}") for name in ("row", "probability", "verdict", "reason")]
    heads += [t("upload.head.machine")] if machines else []
    heads += [f"{column['title']} ({column['unit']})" if column["unit"] else column["title"] for column in columns]
    sheet.draw(
        heads,
        (
            (
                (words.number(row["row"]), links.deep("prediction", id=row["id"])),
                words.probability(row["probability"]),
                _verdict(row),
                _reason(row),
                *([row["machine"] or words.NONE] if machines else []),
                *(words.amount(row["values"].get(column["name"]), {**column, "unit": ""}) for column in columns),
            )
            for row in shown
        ),
    )
    if len(found) > most and st.button(t("upload.more"), key=f"{key}_more"):
        st.session_state[key] = most + _MORE
        st.rerun()


def _verdict(row: dict[str, Any]) -> str:
    """A sign beside the word, so that the eye finds them without a colour."""
    return f"{'▲' if row['failing'] else '✓'} {row['verdict']}"


def _reason(row: dict[str, Any]) -> str:
    return "\n".join(filter(None, (row["reason"], t("upload.is_outside") if row["outside"] else "")))


def _profile(here: Here, check: dict[str, Any]) -> dict[str, Any]:
    """Its words; none where it is served no more."""
    try:
        return here.profile(check["profile"])
    except (NotFound, NotReady):
        return {"columns": [], "modes": []}


def _address(here: Here, check: dict[str, Any], what: str) -> str:
    """Straight from the API to the browser: a million rows do not go by the memory of a screen."""
    return f"{here.api_url}/file-checks/{check['id']}/{what}"
