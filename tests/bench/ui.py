"""What the screens cost and how long they take: ``python -m tests.bench.ui`` (``make bench-ui``).

PostgreSQL with durability on, the API and Streamlit are processes of their own on this machine, and Chromium sits before
them. Rows of past predictions are made and not predicted; the file that is checked is looked at and predicted for real.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from playwright.sync_api import Page

from appliance.settings import Settings
from appliance.store import embedded
from appliance.store import engine as engines
from appliance.store.migrations import migrate
from tests.bench import machine, panels
from tests.bench.patience import QUIET, say
from tests.bench.workplace import simulate
from tests.ui.browser import stage as stages
from tests.ui.browser.stage import Stage, named, settled
from ui import pages

PAGE = Path(__file__).parents[2] / "docs" / "performance-ui.md"
GOAL_FIRST_MIB, GOAL_MORE_MIB, GOAL_SECONDS = 200, 25, 1.5
# Times that a page is opened for each time that is to count, at most: others may work on this machine.
ATTEMPTS = 4
SECONDS_TO_SETTLE = 6.0
SECONDS_BETWEEN_LOOKS = 0.25
MOST_SECONDS = 900.0
_DRAWN = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  const title = document.querySelector('h1');
  return app && app.dataset.testScriptState === 'notRunning' && title && title.innerText.includes('%s')
    && document.querySelector('canvas, svg.marks') && !document.querySelector('[data-stale="true"]');
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if stages.CHROMIUM is None:
        sys.exit("There is no Chromium on this machine (Debian: apt-get install chromium).")
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts()}
    found["command"] = " ".join(["make bench-ui", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    with _stage(options.rows) as (stage, database):
        others = machine.Others(psutil.Process().pid, database)
        if "memory" in options.parts:
            found["memory"] = _memory(stage, options.sessions)
        if "past" in options.parts:
            found["past"] = {"rows": options.rows, **_past(stage, options.asked, psutil.Process().pid, database)}
        if "file" in options.parts:
            found["file"] = _file(stage, options.file_rows)
        found["others"] = round(others.share(), 3)
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ui", description=__doc__)
    parts = ("memory", "past", "file")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts), help="what to measure (all)")
    parser.add_argument("--rows", type=int, default=panels.ROWS, help=f"past predictions ({panels.ROWS:,})")
    parser.add_argument("--file-rows", type=int, default=1_000_000, help="rows of the file that is checked (1,000,000)")
    parser.add_argument("--sessions", type=int, default=8, help="further sessions beside the first (8)")
    parser.add_argument("--asked", type=int, default=10, help="times that a page is opened (10)")
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    return parser.parse_args(arguments)


@contextmanager
def _stage(rows: int) -> Iterator[tuple[Stage, int]]:
    """A month of predictions, a model that serves, and the screens before them; the process id of the database."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="appliance-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        server = embedded.start(folder / "db")
        stack.callback(server.stop)
        migrate(server.dsn)
        engine = engines.connect(server.dsn, "bench")
        panels.fill(engine, datetime.now(UTC), rows)
        engine.dispose()
        say("what the database does by itself in a quiet hour: vacuum and analyze")
        session = psycopg2.connect(server.dsn)
        session.autocommit = True
        session.cursor().execute("VACUUM (ANALYZE)")
        session.close()
        say("a model, the API and the screens")
        (folder / "data").mkdir()
        settings = Settings(data_dir=folder / "data", dsn=server.dsn)  # type: ignore[arg-type]
        assert server.pid is not None
        yield stack.enter_context(stages.staged(folder, settings, trained=True)), server.pid


def _memory(stage: Stage, sessions: int) -> dict[str, Any]:
    """PSS of Streamlit: with one window that looked at one page, that looked at all, and with more windows beside it."""
    say("one session")
    with stage.engine.connect() as connection:
        prediction = int(connection.exec_driver_sql("SELECT max(id) FROM prediction").scalar_one())
    one: Mapping[str, Mapping[str, Any]] = {
        "machine": {"profile": "milling", "machine": "mill-01"},
        "prediction": {"id": prediction},
        "file": {"id": 1},
    }
    with ExitStack() as stack:
        found: dict[str, Any] = {"nobody": _settled_pss(stage)}
        page = stack.enter_context(stage.window("engineer"))
        stage.open(page)
        found["overview"] = _settled_pss(stage)
        for name in pages.NAMES:
            stage.open(page, name, **one.get(name, {}))
        found["every_page"] = _settled_pss(stage)
        stage.open(page)
        before = _settled_pss(stage)
        for number in range(sessions):
            say(f"session {number + 2}")
            other = stack.enter_context(stage.window("operator"))
            for name in ("overview", "alarms", "quality"):
                stage.open(other, name)
        found["sessions"] = sessions
        found["further"] = round((_settled_pss(stage) - before) / sessions, 1)
    return found


def _past(stage: Stage, asked: int, *ours: int) -> dict[str, Any]:
    """Seconds from the click in the menu until table and chart are drawn and nothing is on its way any more."""
    say("past predictions")
    title = "Past predictions"
    took: list[tuple[float, float]] = []  # what others took of the CPU, and seconds
    with stage.window("engineer") as page:
        for number in range(ATTEMPTS * asked + 1):
            stage.open(page, "health")
            link = page.get_by_role("link", name=named(title)).first
            others = machine.Others(*ours)
            seconds = _drawn(page, title, link.click)
            took.append((others.share(), seconds))
            say(f"{number}: {seconds:.2f} s, others {took[-1][0]:.0%}")
            if sum(share <= QUIET for share, _ in took[1:]) >= asked:
                break
    # The first one is the page's first; of the others those count in which this machine was left alone the most.
    quiet = sorted(took[1:])[:asked]
    return {
        "asked": len(quiet),
        "of": len(took) - 1,
        "first": round(took[0][1], 2),
        "median": round(statistics.median(seconds for _, seconds in quiet), 2),
        "most": round(max(seconds for _, seconds in quiet), 2),
        "others": round(statistics.mean(share for share, _ in quiet), 3),
    }


def _drawn(page: Page, title: str, act: Callable[[], None]) -> float:
    start = time.monotonic()
    act()
    page.wait_for_function(_DRAWN % title, timeout=MOST_SECONDS * 1000)
    return time.monotonic() - start


def _file(stage: Stage, rows: int) -> dict[str, Any]:
    """A file of so many rows as an operator hands it in, with the most memory that each process had meanwhile."""
    path = stage.settings.data_dir / "million.csv"
    say(f"a file of {rows:,} rows")
    simulate(rows, 0, path)
    found: dict[str, Any] = {"rows": rows, "mib": round(path.stat().st_size / machine.MIB, 1)}
    with stage.window("operator") as page, _watched(stage) as most:
        page.set_default_timeout(MOST_SECONDS * 1000)
        stage.open(page, "check_file")
        before = {name: _pss(pid) for name, pid in _processes(stage).items()}
        start = time.monotonic()
        page.locator("input[type=file]").set_input_files(path)
        look = page.get_by_role("button", name=named("Look at it"))
        look.wait_for()
        found["upload"] = _since(start)
        start = time.monotonic()
        look.click()
        page.get_by_role("heading", name="File million.csv").wait_for()
        settled(page)
        found["look"] = _since(start)
        start = time.monotonic()
        page.get_by_role("button", name=named("Predict")).click()
        page.get_by_text(re.compile("predicted and stored")).wait_for()
        settled(page)
        found["predict"] = _since(start)
        start = time.monotonic()
        with page.context.expect_event("download", timeout=MOST_SECONDS * 1000) as started:
            page.get_by_role("link", name=named("Download the file with its predictions")).click()
        whole = started.value.path()
        found["download"] = _since(start)
        found["download_mib"] = round(whole.stat().st_size / machine.MIB, 1)
        time.sleep(SECONDS_TO_SETTLE)
        after = {name: _pss(pid) for name, pid in _processes(stage).items()}
    for name in most:
        found[name] = {"before": round(before[name]), "most": round(most[name]), "after": round(after[name])}
    return found


def _since(start: float) -> float:
    return round(time.monotonic() - start, 1)


def _processes(stage: Stage) -> dict[str, int]:
    return {"screens": stage.ui.pid, "api": stage.api.pid}


@contextmanager
def _watched(stage: Stage) -> Iterator[dict[str, float]]:
    """The most memory of each process, by a look every quarter of a second."""
    most = dict.fromkeys(_processes(stage), 0.0)
    over = threading.Event()

    def look() -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            for name, pid in _processes(stage).items():
                most[name] = max(most[name], _pss(pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _settled_pss(stage: Stage) -> float:
    time.sleep(SECONDS_TO_SETTLE)
    return round(_pss(stage.ui.pid), 1)


def _pss(pid: int) -> float:
    """MiB of a process and what it started; pages that they share count once."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / machine.MIB


def markdown(found: dict[str, Any]) -> str:
    """The page; what was not measured does not stand there."""
    box = found["machine"]
    lines = [
        "# What the screens cost",
        "",
        f"Measured by `{found['command']}` on {found['date']}, on {box['cores']} cores of {box['cpu']},",
        f"{box['memory_gib']} GiB, {box['system']}, Python {box['python']}. PostgreSQL, the API, Streamlit and Chromium share",
        "this one machine. Memory is PSS, so that shared pages count once.",
        "",
        "| what | figure | aim |",
        "| --- | ---: | ---: |",
    ]
    if memory := found.get("memory"):
        lines += [
            f"| Streamlit before anybody came | {memory['nobody']:.0f} MiB | |",
            f"| with one session, on the overview | {memory['overview']:.0f} MiB | at most {GOAL_FIRST_MIB} MiB |",
            f"| with one session that opened every page | {memory['every_page']:.0f} MiB | at most {GOAL_FIRST_MIB} MiB |",
            f"| each further session, mean of {memory['sessions']} | {_further(memory)} | at most {GOAL_MORE_MIB} MiB |",
        ]
    if past := found.get("past"):
        what = f"click to past predictions drawn, of {past['rows']:,} rows, warm, median of {past['asked']} (most)"
        lines.append(f"| {what} | {past['median']:.2f} s ({past['most']:.2f} s) | at most {GOAL_SECONDS:g} s |")
        lines.append(f"| the same, the first time | {past['first']:.2f} s | |")
        share = (
            f"others' share of the CPU meanwhile, in the quietest {past['asked']} of {past['of']} times, which count"
        )
        lines.append(f"| {share} | {past['others']:.0%} | |")
    if file := found.get("file"):
        lines += [
            f"| file of {file['rows']:,} rows ({file['mib']:.0f} MiB of CSV): browser to screens | {file['upload']:.1f} s | |",
            f"| looked at: every row judged, bad ones listed | {file['look']:.1f} s | |",
            f"| good rows predicted and stored, with figures and table | {file['predict']:.1f} s | |",
            f"| taken home with its predictions ({file['download_mib']:.0f} MiB) | {file['download']:.1f} s | |",
            _most("Streamlit", file["screens"]),
            _most("the API", file["api"]),
        ]
    lines += [
        "",
        "A file passes Streamlit as its bytes alone, which are let go of once the API has them; it is a frame nowhere but in the",
        "API, batch by batch. What is taken home comes from the API itself.",
        f"Other programs took {found['others']:.0%} of the CPU all through: with less, seconds are fewer.",
        "",
    ]
    return "\n".join(lines)


def _further(memory: Mapping[str, float]) -> str:
    """Room that the first one left serves the next: what is less than one looks at is no figure."""
    return f"{memory['further']:.1f} MiB" if memory["further"] >= 1 else "under 1 MiB"


def _most(what: str, seen: Mapping[str, float]) -> str:
    return f"| most memory of {what} meanwhile (before, after) | {seen['most']} MiB ({seen['before']}, {seen['after']}) | |"


if __name__ == "__main__":
    sys.exit(main())
