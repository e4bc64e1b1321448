"""How long a page of past predictions takes out of ten million: ``python -m tests.bench.reads`` (``make bench-reads``).

``GET /predictions`` as screens and programs ask it, over HTTP from a real API on PostgreSQL with durability on. Rows are
made and not predicted. Each question is asked many times, each time about another machine, hour or probability.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2

from appliance.client import Client
from appliance.store import embedded
from appliance.store import engine as engines
from appliance.store.migrations import migrate
from tests.api.conftest import stock
from tests.bench import machine, panels, workplace
from tests.bench.patience import Patience, say

PAGE = Path(__file__).parents[2] / "docs" / "performance-reads.md"
ASKED = 40
ROWS_A_PAGE = 100
LATER = 10
GOAL_MS = 100.0
SILENT = f"mill-{panels.MACHINES - 1:02}"

Filters = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """What one question is about; another each time."""

    rng: np.random.Generator
    now: datetime
    files: int

    def machine(self) -> str:
        return f"mill-{self.rng.integers(panels.MACHINES - 1):02}"

    def probability(self, least: float, most: float) -> float:
        return round(float(self.rng.uniform(least, most)), 2)

    def hours(self, count: int) -> Filters:
        """So many hours, somewhere in the month."""
        since = self.now - timedelta(hours=int(self.rng.integers(count, panels.DAYS * 24)))
        return {"from_": since, "to": since + timedelta(hours=count)}

    def last(self, days: int) -> Filters:
        return {"from_": self.now - timedelta(days=days)}

    def file(self) -> int:
        return int(self.rng.integers(1, self.files + 1))


Question = Callable[[Draw], Filters]

# By the name that the page gives them. Those that find little are the hard ones: there is no hundredth row to stop at.
QUESTIONS: Mapping[str, Question] = {
    "the newest": lambda _: {},
    "the last day": lambda draw: draw.last(1),
    "an hour of the month": lambda draw: draw.hours(1),
    "a day of the month": lambda draw: draw.hours(24),
    "a machine": lambda draw: {"machine": draw.machine()},
    "a machine, silent for a month": lambda _: {"machine": SILENT},
    "source scheduled": lambda _: {"source": "scheduled"},
    "source api": lambda _: {"source": "api"},
    "source webapp": lambda _: {"source": "webapp"},
    "failing": lambda _: {"verdict": "failing"},
    "passing": lambda _: {"verdict": "passing"},
    "30 days, at least 10 to 50 %": lambda draw: {**draw.last(30), "min_probability": draw.probability(0.1, 0.5)},
    "30 days, at least 50 to 90 %": lambda draw: {**draw.last(30), "min_probability": draw.probability(0.5, 0.9)},
    "30 days, at least 90 to 100 %": lambda draw: {**draw.last(30), "min_probability": draw.probability(0.9, 1.0)},
    "a file": lambda draw: {"file": draw.file()},
    "a file, failing": lambda draw: {"file": draw.file(), "verdict": "failing"},
    "a machine and source scheduled": lambda draw: {"machine": draw.machine(), "source": "scheduled"},
    "a machine and source api": lambda draw: {"machine": draw.machine(), "source": "api"},
    "a machine and source webapp": lambda draw: {"machine": draw.machine(), "source": "webapp"},
    "a silent machine and source webapp": lambda _: {"machine": SILENT, "source": "webapp"},
    "a machine, failing": lambda draw: {"machine": draw.machine(), "verdict": "failing"},
    "a silent machine, failing": lambda _: {"machine": SILENT, "verdict": "failing"},
    "a machine, the last day": lambda draw: {**draw.last(1), "machine": draw.machine()},
    "a machine, the last day, failing": lambda draw: {
        **draw.last(1),
        "machine": draw.machine(),
        "verdict": "failing",
    },
    "a machine, 30 days, at least 90 to 100 %": lambda draw: {
        **draw.last(30),
        "machine": draw.machine(),
        "min_probability": draw.probability(0.9, 1.0),
    },
    "the last week, failing": lambda draw: {**draw.last(7), "verdict": "failing"},
    "an hour, failing": lambda draw: {**draw.hours(1), "verdict": "failing"},
    "source webapp, failing": lambda _: {"source": "webapp", "verdict": "failing"},
    "source webapp, 30 days, at least 50 to 90 %": lambda draw: {
        **draw.last(30),
        "source": "webapp",
        "min_probability": draw.probability(0.5, 0.9),
    },
    "passing, at least 40 to 90 %": lambda draw: {"verdict": "passing", "min_probability": draw.probability(0.4, 0.9)},
    "a machine, passing, at least 40 to 90 %": lambda draw: {
        "machine": draw.machine(),
        "verdict": "passing",
        "min_probability": draw.probability(0.4, 0.9),
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    patience = Patience(options.patience)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts()}
    found["command"] = " ".join(["make bench-reads", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    with _filled(options.rows, options.models) as (server, place, facts):
        found |= facts
        with workplace.api(place) as (pid, reached):
            assert server.pid is not None
            ours = (server.pid, pid)
            found |= patience.measure("questions", lambda: _measured(reached, ours, found, options.asked))
    print(json.dumps(found, indent=2, default=str))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reads", description=__doc__)
    parser.add_argument("--rows", type=int, default=panels.ROWS, help=f"past predictions ({panels.ROWS:,})")
    parser.add_argument("--asked", type=int, default=ASKED, help=f"times that each question is asked ({ASKED})")
    parser.add_argument("--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder")
    parser.add_argument(
        "--patience", type=int, default=0, metavar="MINUTES", help="wait so long for a quiet machine (0)"
    )
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    return parser.parse_args(arguments)


@contextmanager
def _filled(rows: int, shelf: Path | None) -> Iterator[tuple[embedded.Server, workplace.Place, dict[str, Any]]]:
    """A month of predictions in a database, and a box before it whose models serve."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="appliance-reads-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        server = embedded.start(folder / "db")
        stack.callback(server.stop)
        migrate(server.dsn)
        engine = engines.connect(server.dsn, "bench")
        now = datetime.now(UTC)
        panels.predicted(engine, now, rows)
        engine.dispose()
        say("what the database does by itself in a quiet hour: vacuum and analyze")
        facts = {"now": now, **_facts(server.dsn)}
        data = folder / "data"
        data.mkdir()
        if shelf is None:
            stock(data)
        else:
            for part in ("models", "keys"):
                shutil.copytree(shelf / part, data / part)
        yield server, workplace.Place(data, server.dsn, workplace.environment(data, server.dsn)), facts


def _facts(dsn: str) -> dict[str, Any]:
    session = psycopg2.connect(dsn)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute(
            "SELECT (SELECT count(*) FROM prediction), (SELECT max(id) FROM file), current_setting('server_version'),"
            " current_setting('shared_buffers'), sum(pg_table_size(inhrelid)), sum(pg_indexes_size(inhrelid))"
            " FROM pg_inherits WHERE inhparent = 'prediction'::regclass"
        )
        rows, files, version, buffers, heap, indexes = cursor.fetchone() or (0,) * 6
    session.close()
    return {
        "rows": rows,
        "files": files,
        "postgres": version.split()[0],
        "shared_buffers": buffers,
        "heap_bytes": int(heap),
        "index_bytes": int(indexes),
    }


def _measured(reached: Mapping[str, str], ours: Sequence[int], facts: Mapping[str, Any], asked: int) -> dict[str, Any]:
    """All questions in turns, so that what disturbs for a while disturbs all of them."""
    others = machine.Others(os.getpid(), *ours)
    draw = Draw(np.random.default_rng(7), facts["now"], facts["files"])
    times: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    later: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    counts: dict[str, list[int]] = {name: [] for name in QUESTIONS}
    with Client(Path(reached["APPLIANCE_API_SOCKET"]), reached["APPLIANCE_API_TOKEN"]) as api:
        api.prediction_page(limit=1)
        for number in range(asked):
            say(f"turn {number + 1} of {asked}")
            for name, question in QUESTIONS.items():
                pages = _pages(api, question(draw))
                times[name].append(pages[0][0])
                counts[name].append(pages[0][1])
                if len(pages) > 1:
                    later[name].append(pages[-1][0])
    return {
        "asked": asked,
        "questions": {
            name: {"first": _spread(times[name]), "later": _spread(later[name]), "rows": statistics.mean(counts[name])}
            for name in QUESTIONS
        },
        "others": others.share(),
    }


def _pages(api: Client, filters: Filters) -> list[tuple[float, int]]:
    """Milliseconds and rows of the first page and those after it, up to the tenth."""
    pages: list[tuple[float, int]] = []
    cursor: str | None = None
    while len(pages) < LATER:
        began = time.perf_counter()
        page = api.prediction_page(limit=ROWS_A_PAGE, cursor=cursor, **filters)
        pages.append((1000 * (time.perf_counter() - began), len(page["items"])))
        cursor = page["next"]
        if cursor is None:
            break
    return pages


def _spread(times: Sequence[float]) -> dict[str, float] | None:
    if not times:
        return None
    return {
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "most_ms": max(times),
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The page: each question beside the aim."""
    box, questions = found["machine"], found["questions"]
    lines = "\n".join(_line(name, one) for name, one in questions.items())
    missed = [name for name, one in questions.items() if not _kept(one)]
    verdict = (
        f"All {len(questions)} questions keep the aim: 95 of 100 answers within {GOAL_MS:.0f} ms."
        if not missed
        else f"{len(questions) - len(missed)} of {len(questions)} questions keep the aim, 95 of 100 answers within {GOAL_MS:.0f} ms;"
        f" not: {'; '.join(missed)}."
    )
    rows = found["rows"]
    return f"""# Reading past predictions

Measured by `{found["command"]}` on {found["date"]}, on {box["cores"]} cores of {box["cpu"]}, {box["memory_gib"]} GiB,
{box["system"]}, Python {box["python"]}: `GET /predictions` for {ROWS_A_PAGE} rows out of {rows:,}, from a month of {panels.MACHINES} machines,
over HTTP from the API on PostgreSQL {found["postgres"]} with {found["shared_buffers"]} of shared buffers. API, database and client share these
cores; other programs took {found["others"]:.1%} of the CPU meanwhile. Each question was asked {found["asked"]} times, in turns with
all others and each time about another machine, hour or probability; "later" is the {LATER}th page, or the last where there are fewer.

| question | rows on the first page | p50 ms | p95 ms | most ms | later p95 ms | |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
{lines}

{verdict} A row takes {found["heap_bytes"] / rows:.0f} bytes of heap and {found["index_bytes"] / rows:.0f} bytes of indexes.
"""


def _line(name: str, one: Mapping[str, Any]) -> str:
    first, later = one["first"], one["later"]
    figures = " | ".join(f"{first[key]:.0f}" for key in ("p50_ms", "p95_ms", "most_ms"))
    after = f"{later['p95_ms']:.0f}" if later else ""
    return f"| {name} | {one['rows']:.0f} | {figures} | {after} | {'kept' if _kept(one) else 'not kept'} |"


def _kept(one: Mapping[str, Any]) -> bool:
    return all(part is None or part["p95_ms"] <= GOAL_MS for part in (one["first"], one["later"]))


if __name__ == "__main__":
    sys.exit(main())
