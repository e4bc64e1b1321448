"""The command: make a workplace, run, sum up."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.bench import page, results, workplace
from tests.bench.journey import API, DIRECT, STEPPED
from tests.bench.workplace import Workplace

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
ROWS = 1_000_000
REPEATS = 3
WAYS = (STEPPED, DIRECT, API)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    command = " ".join(["make bench", *_words(options)])
    with workplace.open_workplace(options.rows, options.models) as place:
        journeys: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        limits: dict[str, list[float]] = {}
        # In turns, so that what disturbs for a while disturbs all of them.
        for number in range(options.repeats):
            for way in WAYS:
                _say(f"run {number + 1} of {options.repeats}, {way}")
                journeys[way].append(_journey(place, way, limits, last=number + 1 == options.repeats))
        found = results.summary(journeys, limits, options.rows, place.source.stat().st_size, command)
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
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--write", action="store_true", help="rewrite docs/performance.md")
    return parser.parse_args(arguments)


def _words(options: argparse.Namespace) -> list[str]:
    """How ``make bench`` is asked for the same figures."""
    given = [("rows", ROWS), ("repeats", REPEATS)]
    words = [f"--{name} {getattr(options, name)}" for name, usual in given if getattr(options, name) != usual]
    return [f'ARGS="{" ".join(words)}"'] if words else []


def _journey(place: Workplace, way: str, limits: dict[str, list[float]], *, last: bool) -> dict[str, Any]:
    words = ["-m", "tests.bench.journey", "--way", way, "--database", str(place.database_pid)]
    with place.box() as box:
        if way == API:
            with workplace.api(box) as (pid, reached):
                return workplace.run_json([*words, "--api", str(pid)], reached)
        done = workplace.run_json(words, box.environment)
        if way == DIRECT and last:
            _say("what the libraries take alone")
            limits |= workplace.run_json(["-m", "tests.bench.limits", str(place.source)], box.environment)
        return done


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
