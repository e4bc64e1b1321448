"""``make tasks``: people's tasks, done in Chromium by the tests, with taps and seconds, into docs/tasks.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.ui.browser import stage
from tests.ui.browser.task import OUT

PAGE = Path(__file__).parents[3] / "docs" / "tasks.md"
COMMAND = "make tasks"


def main() -> int:
    if stage.CHROMIUM is None:
        sys.exit("There is no Chromium on this machine (Debian: apt-get install chromium).")
    with tempfile.TemporaryDirectory(prefix="appliance-tasks-") as folder:
        noted = Path(folder) / "tasks.jsonl"
        words = ["-m", "pytest", "-q", str(Path(__file__).parent)]
        others = machine.Others(os.getpid())
        done = subprocess.run([sys.executable, *words], env={**os.environ, OUT: str(noted)}, check=False)
        if done.returncode:
            sys.exit("A task could not be done to its end: the page stays as it was.")
        tasks = [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()]
        share = others.share()
    PAGE.write_text(markdown(tasks, machine.facts(), f"{datetime.now(UTC):%Y-%m-%d}", share), encoding="utf-8")
    print(f"{len(tasks)} tasks: {PAGE}")
    return 0


def markdown(tasks: Iterable[Mapping[str, Any]], box: Mapping[str, Any], date: str, others: float) -> str:
    ordered = sorted(tasks, key=lambda task: (task["persona"], task["title"]))
    lines = [
        "# What people do, in taps and seconds",
        "",
        f"Measured by `{COMMAND}` on {date}, on {box['cores']} cores of {box['cpu']}, {box['memory_gib']} GiB, {box['system']}.",
        "",
        "Each task is a test in `tests/ui/browser`: Chromium before the real API, database, model and screens, all of them on",
        "this one machine. It begins with a page that is open and signed in, unless signing in is the task, and ends when what",
        "was wanted can be read. Seconds are the machine's share alone: nobody reads or thinks in them. A tap is a tap or a",
        "click, a field one that is typed into.",
        f"Other programs took {others:.0%} of the CPU meanwhile: with less, seconds are fewer.",
        "",
        "| who | task | taps | fields | files | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {task['persona']} | {task['title']} | {task['taps']} | {task['fields'] or ''} | {task['files'] or ''}"
        f" | {task['seconds']:.1f} |"
        for task in ordered
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
