"""How commands print: one JSON object with ``--json``, else a table or a sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))  # noqa: T201


def say(text: str) -> None:
    print(text)  # noqa: T201


def hint(text: str) -> None:
    """Something beside the result: standard error, so that results can be piped. A log that takes no more, as on a full
    disk, keeps nobody from the work."""
    with suppress(OSError):
        print(text, file=sys.stderr)  # noqa: T201


def table(rows: Iterable[Sequence[object]], header: Sequence[str]) -> None:
    """Columns aligned by width; plain text, so that it survives a pipe and a log."""
    lines = [tuple(header), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def workshop(module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module of the workshop (``model``) in a child process, and end with its exit code.

    The runtime does not import what trains models: it may not be installed, and it must not weigh on the box.
    """
    command = [sys.executable, "-m", module, *arguments]
    sys.stdout.flush()
    # Nothing is left to do here, so the child takes this process over: one process to signal, and its own exit code.
    os.execv(sys.executable, command)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be printed as JSON")
