"""A file that comes from a browser: handed on to the API piece by piece, and let go of."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.typing import UploadedFile

from ui import session, words
from ui.session import Here
from ui.texts import t

KINDS = ("csv", "parquet", "pq")


def choose(key: str) -> UploadedFile | None:
    """Another file each time that one was let go of."""
    return st.file_uploader(
        t("upload.file"), type=KINDS, max_upload_size=most(), key=f"{key}_{st.session_state.get(f'{key}_round', 0)}"
    )


def check(here: Here, file: UploadedFile, key: str, **about: Any) -> str:
    """The id of its check, as the API looked at it."""
    file.seek(0)
    with st.spinner(t("upload.looking", name=words.plain(file.name))):
        found = here.api.check_file(file, name=file.name, **about)
    _let_go(file)
    st.session_state[f"{key}_round"] = st.session_state.get(f"{key}_round", 0) + 1
    return str(found["id"])


def most() -> int:
    """MiB that one may have: what the API takes is known before its bytes are on the way."""
    box = session.settings()
    return min(box.ui_upload_mb, box.api_body_mb)


def _let_go(file: UploadedFile) -> None:
    """Streamlit would keep its bytes in memory until the window is closed."""
    context = get_script_run_ctx()
    forget = getattr(context.uploaded_file_mgr, "remove_file", None) if context is not None else None
    if context is not None and forget is not None:
        forget(session_id=context.session_id, file_id=file.file_id)
