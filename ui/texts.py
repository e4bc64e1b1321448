"""Every sentence that a person reads, out of ``texts/<language>.toml``: a second language is a second file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent / "texts"
DEFAULT = "en"


def t(key: str, **values: Any) -> str:
    """The sentence of ``page.key`` with its values. One with the forms ``one`` and ``other`` goes by the value ``n``."""
    found: Any = _find(language(), key)
    if found is None:
        found = _find(DEFAULT, key)
    if isinstance(found, Mapping):
        found = found["one" if values.get("n") == 1 else "other"]
    if found is None:
        raise KeyError(f"texts/{DEFAULT}.toml has no {key!r}")
    return str(found).format_map({**values, "n": _counted(values.get("n"))})


def language() -> str:
    """That of the browser where we have it, else the default."""
    wanted = (st.context.locale or "").partition("-")[0].lower()
    return wanted if wanted in languages() else DEFAULT


@cache
def languages() -> frozenset[str]:
    return frozenset(path.stem for path in FOLDER.glob("*.toml"))


@cache
def catalogue(name: str) -> Mapping[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def _find(name: str, key: str) -> Any:
    here: Any = catalogue(name)
    for step in key.split("."):
        here = here.get(step) if isinstance(here, Mapping) else None
    return here


def _counted(n: Any) -> Any:
    return f"{n:,}" if isinstance(n, int) else n
