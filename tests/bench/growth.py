"""Files of several sizes down the same road (``make bench-growth``): memory stays where it is, and time grows with the rows.

Each size is one journey in a process of its own with a database of its own, as ``make bench`` does it; a file of a few rows
is one pass of ``appliance ingest``, its imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from appliance import profile as profiles
from tests.bench import machine, workplace
from tests.bench.journey import DIRECT
from tests.bench.patience import Patience, say
from tests.bench.results import GOAL_MIB
from tests.bench.workplace import ROOT, Place, Workplace

PAGE = ROOT / "docs" / "performance-growth.md"
ROWS = (1_000_000, 3_000_000, 10_000_000)
FEW = 50
# Of fewer rows, what a table has for itself would count.
_ENOUGH = 100_000
GOAL_PASS_SECONDS = 3.0
# A row of the largest file may take so much longer than one of the smallest.
GOAL_GROWTH = 1.25


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    patience = Patience(options.patience)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts(), "sizes": []}
    profile = profiles.load(ROOT / "model" / "profiles" / f"{workplace.PROFILE}.toml")
    found["columns"] = len(profile.matrix_names) + len(profile.modes)
    found["command"] = " ".join(["make bench-growth", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])])
    with workplace.open_workplace(FEW, options.models) as place:
        found["pass"] = patience.measure(f"a pass over a file of {FEW} rows", lambda: _pass(place))
        for rows in sorted(options.rows):
            say(f"a file of {rows:,} rows is made")
            workplace.simulate(rows, 0, place.source)
            one = patience.measure(f"{rows:,} rows", lambda: _journey(place))
            found["sizes"].append({"rows": rows, "bytes": place.source.stat().st_size, **one})
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    most = max(one["memory_mib"] for one in found["sizes"])
    if most > GOAL_MIB:
        say(f"memory grew to {most:.0f} MiB, and has to stay below {GOAL_MIB}")
    return int(most > GOAL_MIB)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="sizes of the files")
    parser.add_argument("--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder")
    parser.add_argument("--patience", type=int, default=0, metavar="MINUTES", help="wait for a quiet machine (0)")
    parser.add_argument("--write", action="store_true", help=f"rewrite docs/{PAGE.name}")
    return parser.parse_args(arguments)


def _pass(place: Workplace) -> dict[str, Any]:
    with place.box() as box:
        others, before = machine.Others(os.getpid(), place.database_pid), _children()
        told = workplace.run(["-m", "appliance", "ingest"], box.environment)
        spent = _children() - before
        return {"cpu": spent, "others": others.share(), "told": told.strip().splitlines()[-1]}


def _children() -> float:
    """CPU seconds of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _journey(place: Workplace) -> dict[str, Any]:
    with place.box() as box:
        words = ["-m", "tests.bench.journey", "--way", DIRECT, "--database", str(place.database_pid)]
        one = workplace.run_json(words, box.environment)
        return {
            "ingest": one["ingest"]["whole"]["wall"],
            "predict": one["predict"]["whole"]["wall"],
            "memory_mib": one["memory_mib"],
            "table": _table(box),
            "others": one["others"],
        }


def _table(box: Place) -> dict[str, int]:
    """Bytes and rows of what was stored."""
    connection = psycopg2.connect(box.dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(pg_table_size(inhrelid)), 0)::bigint, coalesce(sum(pg_indexes_size(inhrelid)), 0)::bigint,"
                " (SELECT count(*) FROM prediction) FROM pg_inherits WHERE inhparent = 'prediction'::regclass"
            )
            ((heap, indexes, rows),) = cursor.fetchall()
    finally:
        connection.close()
    return {"heap": heap, "indexes": indexes, "rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """The page."""
    facts, sizes = found["machine"], found["sizes"]
    lines = "\n".join(
        f"| {one['rows']:,} | {one['bytes'] / machine.MIB:,.0f} | {one['ingest']:.1f} | {one['predict']:.1f} |"
        f" {_each(one):.1f} | {one['memory_mib']:.0f} | {one['table']['heap'] / one['table']['rows']:.0f} |"
        f" {one['table']['indexes'] / one['table']['rows']:.0f} |"
        for one in sizes
    )
    growth = _each(sizes[-1]) / _each(sizes[0])
    most = max(one["memory_mib"] for one in sizes)
    heap = max(
        one["table"]["heap"] / one["table"]["rows"] for one in sizes if one["rows"] >= min(_ENOUGH, sizes[-1]["rows"])
    )
    room = 145 + 4 * found["columns"]
    spent = found["pass"]["cpu"]
    others = max(one["others"] for one in sizes)
    return f"""# What larger files take

Measured by `{found["command"]}` on {found["date"]} with {facts["cores"]} cores of {facts["cpu"]}, {facts["memory_gib"]} GiB,
{facts["system"]}, Python {facts["python"]}. Each file goes once from the drop folder to committed predictions, in a process and a
database of its own with durability on; other programs took at most {others:.1%} of the CPU meanwhile.

| rows | MiB of CSV | ingest s | predict s | µs a row | most memory MiB | heap bytes a row | index bytes a row |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{lines}

| what | measured | aim | |
| --- | ---: | ---: | --- |
| a row of the largest file against one of the smallest | {growth:.2f} times | {GOAL_GROWTH} times | {_kept(growth <= GOAL_GROWTH)} |
| heap of a row with {found["columns"]} features and modes (145 + 4 a column) | {heap:.0f} bytes | {room} bytes | {_kept(heap <= room)} |
| memory, whatever the size | {most:.0f} MiB | {GOAL_MIB} MiB | {_kept(most <= GOAL_MIB)} |
| CPU of one pass over a file of {FEW} rows, imports included | {spent:.2f} s | {GOAL_PASS_SECONDS:.0f} s | {_kept(spent <= GOAL_PASS_SECONDS)} |
"""


def _each(one: dict[str, Any]) -> float:
    return float(1e6 * (one["ingest"] + one["predict"]) / one["rows"])


def _kept(yes: bool) -> str:
    return "kept" if yes else "not kept"


if __name__ == "__main__":
    sys.exit(main())
