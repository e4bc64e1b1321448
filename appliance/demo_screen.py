"""What the demo shows: the live table, and the accounting at the end of a bounded run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from appliance.profile import Profile
from appliance.store.overview import Overview

SECONDS_BETWEEN_LINES = 10  # without a terminal a line now and then is enough


class Screen:
    """A table that is drawn again in place on a terminal; elsewhere a line every few seconds, and with the first predictions."""

    def __init__(self, profile: Profile, lines: Sequence[str]) -> None:
        self._profile = profile
        self._lines = lines
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._last: datetime | None = None
        self._before = 0  # rows that were predicted when it began
        self._waits = True  # for the first rows that are predicted now

    def __enter__(self) -> Self:
        for line in self._lines:
            self._console.print(line, soft_wrap=True, markup=False)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def draw(self, seen: Overview, trouble: str, copies: str = "") -> None:
        if self._console.is_terminal:
            self._live.update(_picture(self._profile, seen, trouble, copies), refresh=True)
        elif self._is_time(seen):
            self._console.print(_line(seen, trouble, copies), markup=False, soft_wrap=True)

    def _is_time(self, seen: Overview) -> bool:
        """Every few seconds, and at once when the first rows are predicted."""
        if self._last is None:
            self._before = seen.rows_predicted
        first = self._waits and seen.rows_predicted > self._before
        if self._last is not None and not first and (seen.now - self._last).total_seconds() < SECONDS_BETWEEN_LINES:
            return False
        self._last, self._waits = seen.now, self._waits and not first
        return True


def print_accounting(result: Mapping[str, Any]) -> None:
    """The result of a bounded run, a figure a line."""
    table = Table("what", "count", title="Row accounting", title_justify="left")
    table.columns[1].justify = "right"
    for name, value in result.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console(highlight=False).print(table)


def _picture(profile: Profile, seen: Overview, trouble: str, copies: str) -> Group:
    counts = Table(expand=False)
    for title in ("files", "good rows", "bad rows", "predicted", "duplicates", "quarantined", "waiting", "data age"):
        counts.add_column(title, justify="right")
    counts.add_row(
        *(
            f"{n:,}"
            for n in (
                seen.files,
                seen.rows_good,
                seen.rows_bad,
                seen.rows_predicted,
                seen.duplicates,
                seen.quarantined,
                seen.parts_waiting,
            )
        ),
        _age(seen.now, seen.last_arrival_at),
    )
    machines = Table("machine", "state", "probability", "reading")
    machines.add_column("why, and what to do", ratio=1)
    for machine in seen.machines:
        machines.add_row(
            machine["name"],
            Text("ALARM", style="bold red") if _in_alarm(machine) else Text(_state(profile, machine["last_failing"])),
            "" if machine["last_probability"] is None else f"{machine['last_probability']:.0%}",
            _age(seen.now, machine["last_read_at"]),
            _why(seen.now, machine),
        )
    rows: list[Table | Text] = [counts, machines, Text(f"Most bad rows today: {_issue(profile, seen)}")]
    if copies:
        rows.append(Text(copies))
    if trouble:
        rows.append(Text(f"Trouble: {trouble}", style="bold yellow"))
    return Group(*rows)


def _in_alarm(machine: Mapping[str, Any]) -> bool:
    return machine["alarm"] is not None and machine["closed_at"] is None


def _why(now: datetime, machine: Mapping[str, Any]) -> str:
    alarm = machine["alarm"]
    if alarm is None:
        return ""
    if _in_alarm(machine):
        return f"{alarm['text']}. {alarm['action']}"
    return f"calm again; {_age(now, machine['closed_at'])} ago: {alarm['text']}"


def _state(profile: Profile, failing: bool | None) -> str:
    if failing is None:
        return "no reading"
    return profile.words.failing if failing else profile.words.passing


def _issue(profile: Profile, seen: Overview) -> str:
    if seen.top_issue is None:
        return "none"
    rule, column, rows = seen.top_issue
    title = next((c.title for c in profile.columns if c.name == column), column or "the row")
    return f"{title}: {rule.replace('_', ' ')} ({rows:,})"


def _line(seen: Overview, trouble: str, copies: str) -> str:
    alarms = [f"{m['name']}: {m['alarm']['text']}" for m in seen.machines if _in_alarm(m)]
    said = (
        f"files {seen.files}, good {seen.rows_good:,}, bad {seen.rows_bad:,}, predicted {seen.rows_predicted:,}, "
        f"quarantined {seen.quarantined}, duplicates {seen.duplicates}, data age {_age(seen.now, seen.last_arrival_at)}; "
        f"in alarm: {'; '.join(alarms) or 'none'}"
    )
    return " | ".join([said, *filter(None, (copies, trouble and f"trouble: {trouble}"))])


def _age(now: datetime, then: datetime | None) -> str:
    if then is None:
        return "none yet"
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
