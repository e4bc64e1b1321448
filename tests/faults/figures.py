"""The figures of a run of ``make faults``, written into ``docs/reliability.md`` where APPLIANCE_WRITE_DOCS asks for it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.campaign import Figures

VARIABLE = "APPLIANCE_WRITE_DOCS"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_END = "<!-- end of figures -->"
_ROWS = {"rows_in": "rows in", "rows_good": "good", "rows_bad": "bad", "rows_predicted": "predicted"}


@dataclass(frozen=True, slots=True)
class PowerFigures:
    """``cuts`` are more than ``boxes``, for some lose their power twice; ``told`` counts what people were told is stored."""

    seed: int
    boxes: int
    cuts: int
    requests: int
    told: int
    accounts: Mapping[str, int]


@dataclass(slots=True)
class Tables:
    """Of all that a session tried: a table of the page each. ``every``: of so many calls one was tried."""

    every: int = 1
    kills: list[Figures] = field(default_factory=list)
    failures: list[Figures] = field(default_factory=list)
    power: PowerFigures | None = None


def publish(tables: Tables) -> None:
    """Replace those tables of the page for which there are figures."""
    if os.environ.get(VARIABLE) != "1":
        return
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in _sections(tables):
        before, begin, behind = page.partition(f"<!-- figures of {name} -->\n")
        _, end, after = behind.partition(_END)
        assert begin, f"the page has no place for the figures of {name}"
        assert end, f"the place for the figures of {name} has no end"
        page = before + begin + "".join(f"{line}\n" for line in lines) + end + after
    PAGE.write_text(page, encoding="utf-8")


def _sections(tables: Tables) -> Iterator[tuple[str, Sequence[str]]]:
    # At each call, or the page keeps what it has.
    if tables.kills and tables.every == 1:
        yield "kills", _kills(tables.kills)
    if tables.failures:
        yield "failures", _failures(tables.failures, tables.every)
    if tables.power is not None:
        yield "power cuts", _power(tables.power)


def _when() -> str:
    return f"on {datetime.now(UTC):%Y-%m-%d} ({platform.machine()}, {os.cpu_count()} cores)"


def _table(*rows: Sequence[str]) -> list[str]:
    head, *others = rows
    lines = ["", f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in others)]


def _counted(accounts: Mapping[str, int]) -> list[str]:
    return [f"{accounts[name]:,}" if accounts else "" for name in _ROWS]


def _kills(found: Sequence[Figures]) -> list[str]:
    total = sum(len(one.kills) for one in found)
    said = f"`make faults` {_when()}: {total:,} kills, and after none of them was a promise broken."
    head = ["what was killed", "files", "statements", "kills", *_ROWS.values(), "violations"]
    rows = []
    for one in found:
        counts = (len(one.kills) - one.statements, one.statements, len(one.kills))
        rows.append([one.journey, *(f"{count:,}" for count in counts), *_counted(one.accounts), "0"])
    return [said, *_table(head, *rows)]


def _failures(found: Sequence[Figures], every: int) -> list[str]:
    total = sum(len(one.kills) for one in found)
    run = "`make faults`" if every == 1 else f"`make faults EVERY={every}`"
    said = f"{run} {_when()}: {total:,} calls failed, and after none of them was a promise broken."
    head = ["what failed", "calls that write", "syncs", "others", "failures", *_ROWS.values(), "violations"]
    rows = []
    for one in found:
        syncs, room = (sum(getattr(call, kind) for call in one.kills) for kind in ("is_sync", "takes_room"))
        counts = (room - syncs, syncs, len(one.kills) - room, len(one.kills))
        rows.append([one.journey, *(f"{count:,}" for count in counts), *_counted(one.accounts), "0"])
    return [said, *_table(head, *rows)]


def _power(found: PowerFigures) -> list[str]:
    said = (
        f"`make faults` with `APPLIANCE_FAULTS_POWER_CUTS={found.boxes} APPLIANCE_FAULTS_SEED={found.seed}` {_when()}:"
        f" {found.cuts:,} power cuts, and after none of them was a promise broken."
    )
    head = ["boxes", "cuts", "requests of a shift", "told as stored", *_ROWS.values(), "violations"]
    counts = (found.boxes, found.cuts, found.requests, found.told)
    return [said, *_table(head, [*(f"{count:,}" for count in counts), *_counted(found.accounts), "0"])]
