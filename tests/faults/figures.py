"""The figures of a run of ``make faults``, written into ``docs/reliability.md`` where APPLIANCE_WRITE_DOCS asks for it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.campaign import Figures

VARIABLE = "APPLIANCE_WRITE_DOCS"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- figures of make faults -->", "<!-- end of figures -->"


def publish(found: Sequence[Figures]) -> None:
    """Replace the table of the page."""
    if os.environ.get(VARIABLE) != "1" or not found:
        return
    page = PAGE.read_text(encoding="utf-8")
    table = f"{_BEGIN}\n{_table(found)}\n{_END}"
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: table, page, flags=re.DOTALL), encoding="utf-8")


def _table(found: Sequence[Figures]) -> str:
    lines = [
        f"`make faults` on {datetime.now(UTC):%Y-%m-%d}: {sum(len(one.kills) for one in found):,} kills, and after none of"
        " them was a promise broken.",
        "",
        "| what was killed | files | statements | kills | rows in | good | bad | predicted | violations |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        files = len(one.kills) - one.statements
        rows = ["rows_in", "rows_good", "rows_bad", "rows_predicted"]
        counted = [f"{one.accounts[name]:,}" if one.accounts else "" for name in rows]
        cells = [one.journey, f"{files:,}", f"{one.statements:,}", f"{len(one.kills):,}", *counted, "0"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
