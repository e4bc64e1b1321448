"""``python -m tests.bench.explain``: how long an explanation takes, and what others feel of it.

The API runs in a process of its own with a model of the usual size, and is asked over its unix socket, with rows and
outcomes in the database.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from appliance import profile as profiles
from appliance.client import Client
from appliance.errors import ApplianceError
from tests.bench import machine, workplace
from tests.bench.patience import Patience, say

ROWS = 4_000
ASKED = 200
OUTCOMES = 300
READING = "torque"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.explain", description=__doc__)
    parser.add_argument("--asked", type=int, default=ASKED, help=f"requests of each kind ({ASKED})")
    parser.add_argument("--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder")
    parser.add_argument(
        "--patience", type=int, default=0, metavar="MINUTES", help="wait so long for a quiet machine (0)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    patience = Patience(options.patience)
    with (
        workplace.open_workplace(ROWS, options.models) as place,
        place.box() as box,
        workplace.api(box) as (pid, reached),
        Client(Path(reached["APPLIANCE_API_SOCKET"]), reached["APPLIANCE_API_TOKEN"]) as client,
    ):
        found = patience.measure("explanations", lambda: _measure(client, pid, place.source, options.asked))
    found["machine"] = machine.facts()
    print(json.dumps(found, indent=2) if options.json else _text(found))
    return 0


def _measure(client: Client, pid: int, source: Path, asked: int) -> dict[str, Any]:
    rows = _rows(source)
    if not list(client.predictions(at_most=1)):
        client.predict_file(source, profile=workplace.PROFILE, machine="mill-1")
        _tell(client)
    failing = [one["id"] for one in client.predictions(verdict="failing", at_most=asked)]
    passing = [one["id"] for one in client.predictions(verdict="passing", at_most=asked)]
    ask = {"profile": workplace.PROFILE, "machine": "mill-1"}
    before = machine.peak_mib(pid)
    others = machine.Others(pid)
    times: dict[str, list[float]] = {}
    times["the first after the start"] = [_timed(lambda: client.explain(failing[0]))]
    times["a stored prediction that fails"] = [_timed(lambda n=n: client.explain(n)) for n in failing]  # type: ignore[misc]
    times["a stored prediction that passes"] = [_timed(lambda n=n: client.explain(n)) for n in passing]  # type: ignore[misc]
    some = rows[:asked]
    times["a row tried out"] = [_timed(lambda r=r: client.what_if(r, **ask)) for r in some]  # type: ignore[misc]
    times["a row tried out, with a curve"] = [
        _timed(lambda r=r: client.what_if(r, **ask, curve=READING))  # type: ignore[misc]
        for r in some
    ]
    predict = [lambda r=r: client.predict_rows([r], profile=workplace.PROFILE) for r in some]
    times["POST /predict of one row, alone"] = [_timed(one) for one in predict]
    with _Busy(client, failing):
        times["POST /predict of one row, while others ask why"] = [_timed(one) for one in predict]
    return {
        "rows": {name: _figures(seconds) for name, seconds in times.items()},
        "memory_mib": {"before": round(before), "after": round(machine.peak_mib(pid))},
        "others": others.share(),
    }


class _Busy:
    """Asks for explanations without a pause for as long as the block lasts."""

    def __init__(self, client: Client, ids: Sequence[int]) -> None:
        self._client, self._ids = client, ids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for number in self._ids:
                if self._stop.is_set():
                    return
                self._client.explain(number)


def _tell(client: Client) -> None:
    """Outcomes about rows of all kinds, so that there is a past to look through."""
    for number, one in enumerate(client.predictions(at_most=OUTCOMES)):
        kind = "failure" if number % 2 or not one["failing"] else "false_alarm"
        try:
            client.outcome(kind, prediction_id=one["id"])
        except ApplianceError as error:
            say(str(error))


def _rows(source: Path) -> list[dict[str, Any]]:
    """The rows of the file by code name, as a screen sends them."""
    found = profiles.load(Path("model/profiles") / f"{workplace.PROFILE}.toml")
    readings = {column.header: column.name for column in found.with_role("reading")}
    return pl.read_csv(source).select(pl.col(header).alias(name) for header, name in readings.items()).to_dicts()


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95, most = (float(f"{value * 1000:.3g}") for value in np.percentile(seconds, [50, 95, 100]))
    return {"requests": len(seconds), "p50_ms": p50, "p95_ms": p95, "most_ms": most}


def _text(found: dict[str, Any]) -> str:
    lines = ["| request | requests | p50 ms | p95 ms | most ms |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, one in found["rows"].items():
        lines.append(f"| {name} | {one['requests']} | {one['p50_ms']} | {one['p95_ms']} | {one['most_ms']} |")
    memory, facts = found["memory_mib"], found["machine"]
    lines.append(f"\nAPI's peak memory {memory['before']} MiB before, {memory['after']} MiB after.")
    lines.append(f"Other programs took {found['others']:.0%} of {facts['cores']} cores, {facts['cpu']}.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
