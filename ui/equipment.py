"""Which kind of equipment, and which machine of it, a check is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ui.session import Here
from ui.texts import t


def profile(here: Here, key: str) -> dict[str, Any] | None:
    """The profile that is chosen, or the only one; None, with a word, where no model serves."""
    titles = {one["name"]: one["title"] for one in here.profiles()}
    if not titles:
        st.info(t("models.none"), icon=":material/info:")
        return None
    names = list(titles)
    if len(names) == 1:
        return here.profile(names[0])
    wanted = st.query_params.get("profile", "")
    chosen = st.selectbox(
        t("quality.profile"),
        names,
        index=names.index(wanted) if wanted in names else 0,
        format_func=lambda name: titles[name],
        key=f"{key}_profile",
        required=True,
    )
    return here.profile(chosen or names[0])


def machine(here: Here, profile: Mapping[str, Any], key: str, *, guess: bool = True) -> str | None:
    """A machine that is known, or another name; None for nobody's reading, where rows need no machine. With ``guess`` the
    first one is chosen until somebody chooses."""
    if profile["machine"]["from"] == "constant":
        return str(profile["machine"]["value"])
    names = [one["name"] for one in here.api.machines(profile["name"])]
    wanted = st.query_params.get("machine", "")
    if wanted and wanted not in names:
        names = [wanted, *names]
    found = st.selectbox(
        t("equipment.machine"),
        names,
        index=names.index(wanted) if wanted else 0 if names and guess else None,
        key=f"{key}_machine_{profile['name']}",
        accept_new_options=True,
        placeholder=t("equipment.nobody") if profile["takes_machine"] else t("equipment.which"),
        help=t("equipment.help"),
    )
    return (found or "").strip() or None


def named(profile: Mapping[str, Any], machine: str | None, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row with its machine in it, where rows name theirs; None where there has to be one, and is none."""
    if profile["machine"]["from"] != "column":
        return dict(row)
    return {**row, profile["machine"]["column"]: machine} if machine else None
