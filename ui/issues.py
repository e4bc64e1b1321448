"""Broken rules in words: which rule, in which column, how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from appliance.errors import ApplianceError, NotFound, NotReady
from ui import words
from ui.session import Here
from ui.texts import t

_RULES = frozenset(
    {
        "not_null", "type", "not_finite", "range", "category", "pattern", "cells", "cut_off", "encoding",
        "duplicate_row", "time", "machine", "formula", "missing_column", "extra_column",
    }
)  # fmt: skip
_EXAMPLES = 5


def title(here: Here, profile: str, issue: Mapping[str, Any]) -> str:
    """``Torque: out of range``"""
    rule = t(f"rule.{issue['rule']}") if issue["rule"] in _RULES else words.plain(issue["rule"].replace("_", " "))
    column = _column(here, profile, issue["column"])
    return f"{column}: {rule}" if column else rule[:1].upper() + rule[1:]


def listed(here: Here, profile: str, found: Sequence[Mapping[str, Any]]) -> None:
    """Each with its count, what to do, and examples."""
    with st.container(border=True, gap="xsmall"):
        for issue in found:
            count = t("file.rows", n=issue["count"]) if issue["count"] else t("file.note")
            st.markdown(f"**{title(here, profile, issue)}** · {count}")
            examples = [f"“{words.plain(text)}”" for text in issue["examples"][:_EXAMPLES]]
            said = [advice(issue), t("file.examples", examples=", ".join(examples)) if examples else ""]
            st.caption(" ".join(filter(None, said)))


def advice(issue: Mapping[str, Any]) -> str:
    return t(f"advice.{issue['rule']}") if issue["rule"] in _RULES else ""


def _column(here: Here, profile: str, name: str) -> str:
    """As the profile titles it; a column of the file's own stays as it is."""
    if not name:
        return ""
    try:
        columns = here.profile(profile)["columns"]
    except (NotFound, NotReady):
        columns = []  # a profile that is served no more
    except ApplianceError:
        raise
    return words.plain(next((column["title"] for column in columns if column["name"] == name), name))
