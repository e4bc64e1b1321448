"""The summary as a table for people and as ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.journey import API, DIRECT, STEPPED
from tests.bench.patience import QUIET
from tests.bench.results import GOAL_MIB, GOAL_SECONDS, PHASES

Found = Mapping[str, Any]

_STEP_TITLES = ("step", "seconds", "CPU s", "database CPU s", "rows/s", "the library alone", "its seconds", "times")
_WAY_TITLES = ("", "ingest s", "predict s", "together s", "least to most", "rows/s", "CPU s", "peak memory")
_WAYS = {
    STEPPED: "one process, each step timed",
    DIRECT: "one process, no timers",
    API: "predictions by the API over HTTP",
}


def text(found: Found) -> str:
    """For the terminal."""
    blocks = [_head(found), *(_aligned(table) for table in _tables(found)), _goal(found)]
    if warning := _warning(found):
        blocks.append(warning)
    return "\n\n".join(blocks) + "\n"


def markdown(found: Found) -> str:
    """``docs/performance.md``."""
    ingest, predict, ways = (_marked(table) for table in _tables(found))
    warning = _warning(found)
    return f"""# How fast it is

{_head(found)}

Measured by `{found["command"]}` on {found["date"]}; figures are medians of {found["repeats"]} runs, each in a new process with a
new database. The database is the embedded PostgreSQL with durability on; nothing is faked, left out or kept warm but the
file itself, which lies in the page cache as a file does that has just come. The settle time between the two looks at a
new file is set to 0, and what a process needs before its first file stands by itself below.
{f"**{warning}**" if warning else f"Other programs took {found['others']:.1%} of the CPU meanwhile."}

"The library alone" is the plain call that does the bare work of the step on the same rows, measured in the same run:
`times` says what our promises (bounded memory, damaged lines found, reasons a row, durable files) cost above it. CPU
seconds are those of all threads of the process; what PostgreSQL spends stands beside them. {_disk(found)}

## {PHASES["ingest"].capitalize()}

{ingest}

## {PHASES["predict"].capitalize()}

{predict}

## The whole road

{ways}

Before the first file a process spends {found["start"]["imports"]:.1f} s on imports, and {found["start"]["model"]:.1f} s on verifying and loading the model.

{_goal(found)}

Where the time goes, function by function: [performance-road.svg](performance-road.svg), drawn by `make flame`.
"""


def _head(found: Found) -> str:
    box = found["machine"]
    return (
        f"{found['rows']:,} rows ({found['file_mib']:,} MiB of CSV, {found['parts']} parts) on {box['cores']} cores of {box['cpu']}, "
        f"{box['memory_gib']} GiB, {box['system']}, Python {box['python']}."
    )


def _disk(found: Found) -> str:
    limits = found["limits"]
    return (
        f"On this machine it takes {limits['read the bytes'] * 1000:.0f} ms to read the file's bytes, "
        f"{limits['copy'] * 1000:.0f} ms to copy them durably, {limits['hash'] * 1000:.0f} ms to hash them, "
        f"and {limits['commit'] * 1000:.1f} ms to commit one row durably."
    )


def _goal(found: Found) -> str:
    goal = found["goal"]
    quick = "kept" if goal["taken"] <= goal["seconds"] else "not kept yet"
    small = "kept" if goal["taken_mib"] <= goal["mib"] else "not kept yet"
    return (
        f"What we aim at: the whole road in at most {GOAL_SECONDS:.0f} s more than raw scoring and raw COPY of the same rows, "
        f"{goal['seconds']:.2f} s here: {goal['taken']:.2f} s, {quick}. At most {GOAL_MIB} MiB in a process: "
        f"{goal['taken_mib']:.0f} MiB, {small}."
    )


def _warning(found: Found) -> str:
    if found["others"] <= QUIET:
        return ""
    return f"Other programs took {found['others']:.0%} of the CPU meanwhile: the figures are too high."


def _tables(found: Found) -> list[list[Sequence[str]]]:
    return [*(_steps(found, phase) for phase in PHASES), _ways(found)]


def _steps(found: Found, phase: str) -> list[Sequence[str]]:
    rows = [row for row in found["steps"] if row["phase"] == phase]
    lines: list[Sequence[str]] = [_STEP_TITLES]
    for row in rows:
        alone = ("", "", "") if row["library"] is None else _alone(row)
        rate = f"{row['rows_per_second']:,}" if row["rows_per_second"] else ""
        lines.append((row["step"], *_seconds(row), rate, *alone))
    total = {name: sum(row[name] for row in rows) for name in ("seconds", "cpu", "database_cpu")}
    lines.append(("sum", *_seconds(total), f"{found['rows'] / total['seconds']:,.0f}", "", "", ""))
    return lines


def _seconds(row: Found) -> tuple[str, ...]:
    return tuple(f"{row[name]:.3f}" for name in ("seconds", "cpu", "database_cpu"))


def _alone(row: Found) -> tuple[str, ...]:
    return row["library"], f"{row['library_seconds']:.3f}", f"{row['ratio']:.1f}"


def _ways(found: Found) -> list[Sequence[str]]:
    lines: list[Sequence[str]] = [_WAY_TITLES]
    for way, title in _WAYS.items():
        row = found["ways"][way]
        cpu = f"{row['cpu']:.1f} + database {row['database_cpu']:.1f}"
        memory = f"{row['memory_mib']:.0f} MiB ({row['memory_before_mib']:.0f} before the file)"
        if way == API:
            cpu += f" + API {row['api_cpu']:.1f}"
            memory += f", API {row['memory_api_mib']:.0f} MiB"
        lines.append(
            (
                title,
                *(f"{row[name]:.2f}" for name in (*PHASES, "seconds")),
                f"{row['least']:.2f} to {row['most']:.2f}",
                f"{row['rows_per_second']:,}",
                cpu,
                memory,
            )
        )
    return lines


def _marked(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    rule = ["---:" if any(map(_is_number, column)) else "---" for column in zip(*rest, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(cell: str) -> bool:
    return bool(cell) and cell.replace(",", "").replace(".", "").isdigit()
