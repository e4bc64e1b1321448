"""The command: make a workplace, run, sum up."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import page, results, workplace
from tests.bench.journey import API, DIRECT, STEPPED
from tests.bench.patience import Patience, say
from tests.bench.workplace import Place, Workplace

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
ROWS = 1_000_000
REPEATS = 3
WAYS = (STEPPED, DIRECT, API)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    patience = Patience(options.patience)
    journeys: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with workplace.open_workplace(options.rows, options.models) as place:
        # In turns, so that what disturbs for a while disturbs all of them.
        for number in range(options.repeats):
            for way in WAYS:
                what = f"run {number + 1} of {options.repeats}, {way}"
                journeys[way].append(patience.measure(what, partial(_journey, place, way)))
        with place.box() as box:
            _run(place, box, DIRECT)
            say("what the libraries take alone")
            limits = _limits(place, box, options.repeats, patience)
        size = place.source.stat().st_size
    found = results.summary(journeys, limits, options.rows, size, " ".join(["make bench", *_words(options)]))
    print(json.dumps(found, indent=2) if options.json else page.text(found))
    if options.write:
        PAGE.write_text(page.markdown(found), encoding="utf-8")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the file ({ROWS:,})")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"runs of each way ({REPEATS})")
    parser.add_argument(
        "--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder; default: train one"
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=0,
        metavar="MINUTES",
        help="wait so long for a quiet machine, and repeat runs that other programs disturbed (0)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--write", action="store_true", help="rewrite docs/performance.md")
    return parser.parse_args(arguments)


def _words(options: argparse.Namespace) -> list[str]:
    """How ``make bench`` is asked for the same figures."""
    given = [("rows", ROWS), ("repeats", REPEATS), ("patience", 0)]
    words = [f"--{name} {getattr(options, name)}" for name, usual in given if getattr(options, name) != usual]
    return [f'ARGS="{" ".join(words)}"'] if words else []


def _journey(place: Workplace, way: str) -> dict[str, Any]:
    with place.box() as box:
        return _run(place, box, way)


def _run(place: Workplace, box: Place, way: str) -> dict[str, Any]:
    words = ["-m", "tests.bench.journey", "--way", way, "--database", str(place.database_pid)]
    if way != API:
        return workplace.run_json(words, box.environment)
    with workplace.api(box) as (pid, reached):
        return workplace.run_json([*words, "--api", str(pid)], reached)


def _limits(place: Workplace, box: Place, repeats: int, patience: Patience) -> dict[str, Any]:
    words = ["--repeats", str(repeats), "--database", str(place.database_pid), "--patience", str(patience.minutes)]
    return workplace.run_json(["-m", "tests.bench.limits", str(place.source), *words], box.environment)
