"""Single predictions over HTTP: how long one takes, and how many a box answers (``make bench-online``).

The API is a process of its own on a unix socket, with a model of the usual size and a database with durability on; the
clients are one more process. What is compared runs in turns, so that what disturbs for a while disturbs all of it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from appliance import profile as profiles
from appliance.api import schema
from tests.bench import load, machine, workplace
from tests.bench.patience import Patience, say
from tests.bench.workplace import ROOT, Place

PAGE = ROOT / "docs" / "performance-online.md"
ROUNDS = 5
SECONDS = 6.0
MEMORY_REQUESTS = 10_000
PART_ROWS = 1_000_000
SAMPLE_ROWS = 2_000
GOAL_MORE_MS, GOAL_SHARE, GOAL_MIB, GOAL_START_S, GOAL_P99_MS = 2.0, 0.6, 200, 5.0, 150.0


@dataclass(frozen=True)
class Way:
    """A kind of load: ``rows`` a request from ``clients`` at once."""

    name: str
    clients: int
    rows: int
    store: bool


WAYS = (
    Way("one client, stored", 1, 1, True),
    Way("one client, not stored", 1, 1, False),
    Way("32 clients, stored", 32, 1, True),
    Way("32 clients, not stored", 32, 1, False),
    Way("8 clients, not stored", 8, 1, False),
    Way("8 clients, 100 rows, not stored", 8, 100, False),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    patience = Patience(options.patience)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine.facts()}
    found["command"] = _command(sys.argv[1:])
    found["part_rows"] = options.part_rows
    with workplace.open_workplace(options.part_rows, options.models) as place, place.box() as box:
        began = time.monotonic()
        with workplace.api(box) as (pid, reached):
            found["start_seconds"] = time.monotonic() - began
            sent = _requests(box, reached)
            say("memory: 10,000 single predictions")
            found["memory_mib"] = _memory(pid, reached, sent["one client, stored"])
            found["ways"] = patience.measure(
                "rounds", lambda: _rounds(box, place.database_pid, pid, reached, sent, options)
            )
            say(f"a part of {options.part_rows:,} rows in the background")
            found["beside_a_part"] = _beside_a_part(box, reached, sent["one client, stored"])
    print(json.dumps(found, indent=2))
    if options.write:
        PAGE.write_text(markdown(found), encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.online", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of all ways ({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each way in a turn ({SECONDS:.0f})")
    parser.add_argument(
        "--part-rows", type=int, default=PART_ROWS, help=f"of the file in the background ({PART_ROWS:,})"
    )
    parser.add_argument("--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder")
    parser.add_argument(
        "--patience", type=int, default=0, metavar="MINUTES", help="wait so long for a quiet machine (0)"
    )
    parser.add_argument("--write", action="store_true", help="rewrite docs/performance-online.md")
    return parser.parse_args(arguments)


def _command(words: Sequence[str]) -> str:
    return " ".join(["make bench-online", *([f'ARGS="{" ".join(words)}"'] if words else [])])


def _requests(box: Place, reached: Any) -> dict[str, Path]:
    """Files with the bytes that clients send, by way."""
    profile = profiles.load(ROOT / "model" / "profiles" / f"{workplace.PROFILE}.toml")
    made = {}
    for way in WAYS:
        body = {"rows": [schema.example_row(profile)] * way.rows, "machine": workplace.MACHINE}
        headers = {"authorization": f"Bearer {reached['APPLIANCE_API_TOKEN']}", "content-type": "application/json"}
        path = f"/predict?profile={profile.name}" + ("" if way.store else "&store=false")
        file = box.data / f"request-{len(made)}"
        file.touch(mode=0o600)
        file.write_bytes(load.request(path, json.dumps(body).encode(), headers))
        made[way.name] = file
    return made


def _sent(reached: Any, file: Path, **how: object) -> dict[str, Any]:
    words = [word for name, value in how.items() for word in (f"--{name}", str(value))]
    return workplace.run_json(["-m", "tests.bench.load", reached["APPLIANCE_API_SOCKET"], str(file), *words], reached)


def _memory(pid: int, reached: Any, file: Path) -> float:
    _sent(reached, file, clients=4, most=MEMORY_REQUESTS)
    return float(psutil.Process(pid).memory_full_info().pss) / machine.MIB


def _rounds(
    box: Place, database: int, pid: int, reached: Any, sent: Any, options: argparse.Namespace
) -> dict[str, Any]:
    others = machine.Others(database, pid, psutil.Process().pid)
    rounds: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    commits: list[float] = []
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        commits.append(_commit_ms(box, options.seconds / 2))
        for way in WAYS:
            before = machine.tree_seconds(pid)
            one = _sent(reached, sent[way.name], clients=way.clients, seconds=options.seconds)
            times = sorted(one["times"])
            rounds[way.name].append(
                {
                    "p50_ms": 1000 * statistics.median(times),
                    "p99_ms": 1000 * times[int(len(times) * 0.99)],
                    "per_second": len(times) / one["seconds"],
                    "api_cpu_ms": 1000 * (machine.tree_seconds(pid) - before) / len(times),
                }
            )
    return {
        "commit_ms": statistics.median(commits),
        "others": others.share(),
        **{name: _median(several) for name, several in rounds.items()},
    }


def _median(several: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in several) for name in several[0]}


def _commit_ms(box: Place, seconds: float) -> float:
    """The middle of single-row commits, each durable: nothing that is stored can be quicker on this disk."""
    connection = psycopg2.connect(box.dsn)
    times = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS bench_commit (value integer)")
            connection.commit()
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                began = time.perf_counter()
                cursor.execute("INSERT INTO bench_commit VALUES (1)")
                connection.commit()
                times.append(time.perf_counter() - began)
    finally:
        connection.close()
    return 1000 * statistics.median(times)


def _beside_a_part(box: Place, reached: Any, file: Path) -> dict[str, float]:
    """Single checks while the schedule's passes ingest and predict a large file."""
    workplace.run(["-m", "appliance", "ingest"], reached)
    passing = subprocess.Popen(
        [sys.executable, "-m", "appliance", "predict"], env=dict(reached), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    times: list[float] = []
    try:
        while passing.poll() is None:
            times += _sent(reached, file, clients=1, seconds=2)["times"]
    finally:
        with suppress(ProcessLookupError):
            passing.terminate()
        passing.wait()
    times.sort()
    return {
        "checks": len(times),
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
    }


def markdown(found: dict[str, Any]) -> str:
    """The page: each figure beside its aim."""
    facts, ways, beside = found["machine"], found["ways"], found["beside_a_part"]
    one, many, free = ways[WAYS[0].name], ways[WAYS[2].name], ways[WAYS[3].name]
    share = many["per_second"] / free["per_second"]
    more = one["p50_ms"] - ways["commit_ms"]
    kept: Callable[[bool], str] = lambda yes: "kept" if yes else "not kept"  # noqa: E731
    rows = "\n".join(
        f"| {way.name} | {ways[way.name]['p50_ms']:.1f} | {ways[way.name]['p99_ms']:.1f} |"
        f" {ways[way.name]['per_second']:,.0f} | {ways[way.name]['per_second'] * way.rows:,.0f} |"
        f" {ways[way.name]['api_cpu_ms']:.1f} |"
        for way in WAYS
    )
    return f"""# Single predictions

Measured by `{found["command"]}` on {found["date"]} with {facts["cores"]} cores of {facts["cpu"]}, {facts["memory_gib"]} GiB,
{facts["system"]}, Python {facts["python"]}. The API, the database (durability on) and the clients share these cores; other
programs took {ways["others"]:.1%} of the CPU meanwhile. Medians of turns in which all lines were measured one after the other.

| load | p50 ms | p99 ms | requests/s | rows/s | CPU ms of the API a request |
| --- | ---: | ---: | ---: | ---: | ---: |
{rows}

| what | measured | aim | |
| --- | ---: | ---: | --- |
| one client, above a durable commit of one row ({ways["commit_ms"]:.1f} ms) | {more:.1f} ms | {GOAL_MORE_MS:.0f} ms | {kept(more <= GOAL_MORE_MS)} |
| 32 clients, stored against not stored | {share:.0%} | {GOAL_SHARE:.0%} | {kept(share >= GOAL_SHARE)} |
| p99 of one client beside a file of {found["part_rows"]:,} rows ({beside["checks"]:,.0f} checks) | {beside["p99_ms"]:.0f} ms | {GOAL_P99_MS:.0f} ms | {kept(beside["p99_ms"] <= GOAL_P99_MS)} |
| the API's memory (PSS) after {MEMORY_REQUESTS:,} single predictions | {found["memory_mib"]:.0f} MiB | {GOAL_MIB} MiB | {kept(found["memory_mib"] <= GOAL_MIB)} |
| from its start to its first answer | {found["start_seconds"]:.1f} s | {GOAL_START_S:.0f} s | {kept(found["start_seconds"] <= GOAL_START_S)} |
"""


if __name__ == "__main__":
    sys.exit(main())
