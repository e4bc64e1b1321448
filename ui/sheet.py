"""A plain table: it wraps on paper and on a phone, and a wide one is pushed aside by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import streamlit as st

# A text, or a text with the address that it leads to.
Cell = str | tuple[str, str]
_LONG, _MANY = 16, 6


def draw(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """``heads`` stand above the columns; on a phone they stand before each cell instead. Columns of sentences get room."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(_row(heads, row) for row in rows)
    table = f'<table class="sheet"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    st.html(f'<div class="sheet{" wide" if len(heads) > _MANY else ""}">{table}</div>')


def _row(heads: Sequence[str], row: Sequence[Cell]) -> str:
    cells = (
        f'<td{_class(cell)} data-head="{escape(head)}">{_cell(cell)}</td>'
        for head, cell in zip(heads, row, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _class(cell: Cell) -> str:
    return ' class="long"' if isinstance(cell, str) and len(cell) > _LONG else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, tuple):
        text, address = cell
        return f'<a href="{escape(address)}">{escape(text)}</a>'
    return escape(cell).replace("\n", "<br>")
