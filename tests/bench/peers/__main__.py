"""The appliance beside what others use: ``python -m tests.bench.peers`` (``make bench-peers``)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import machine, workplace
from tests.bench.patience import Patience, say
from tests.bench.peers import pipeline, serving
from tests.bench.peers.environments import CannotBeHad
from tests.bench.workplace import Workplace

PAGE = Path(__file__).parents[3] / "docs" / "performance-peers.md"
PARTS = ("pipeline", "serving")
ROUNDS = 5
SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    patience = Patience(options.patience)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts()}
    found["command"] = " ".join(["make bench-peers", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    with workplace.open_workplace(options.rows, None) as place:
        measures: Mapping[str, Callable[[Workplace], dict[str, Any]]] = {
            "pipeline": lambda place: pipeline.measure(place, options.rounds),
            "serving": lambda place: serving.measure(place, options.rounds, options.seconds),
        }
        for part in options.parts:
            try:
                found[part] = patience.measure(part, lambda measure=measures[part]: measure(place))
            except CannotBeHad as missing:
                say(f"{part}: {missing}")
                found[part] = {"cannot_be_had": str(missing)}
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of all ways ({ROUNDS})")
    parser.add_argument("--rows", type=int, default=pipeline.ROWS, help=f"of the file ({pipeline.ROWS:,})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each load in a turn ({SECONDS:.0f})")
    parser.add_argument(
        "--patience", type=int, default=0, metavar="MINUTES", help="wait so long for a quiet machine (0)"
    )
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    return parser.parse_args(arguments)


def markdown(found: Mapping[str, Any]) -> str:
    """The page; what was not measured does not stand there, and what could not be had is named."""
    box = found["machine"]
    head = f"""# Beside what others use

Measured by `{found["command"]}` on {found["date"]}, on {box["cores"]} cores of {box["cpu"]}, {box["memory_gib"]} GiB,
{box["system"]}, Python {box["python"]}. Servers, the database (durability on) and clients share these cores. Each peer is
installed by the bench in an environment of its own, with the versions that stand in `tests/bench/peers/pins/`.
"""
    parts = [head]
    for name, write in (("pipeline", pipeline.markdown), ("serving", serving.markdown)):
        part = found.get(name)
        if part and "cannot_be_had" in part:
            parts.append(f"The peers of the part `{name}` could not be had here: {part['cannot_be_had']}\n")
        elif part:
            parts.append(write(part) + f"\nOther programs took {part['others']:.1%} of the CPU meanwhile.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
