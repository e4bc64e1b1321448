"""One file through the real ``pipeline.ingest`` and ``pipeline.predict``, in a process of its own; prints JSON.

``--way stepped``: predictions in this process, each step timed. ``--way direct``: the same without timers. ``--way api``:
predictions by the API, which another process serves, as on a box.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.bench import flame, machine
from tests.bench.stopwatch import DatabaseClock, Stopwatch

if TYPE_CHECKING:
    from appliance.ahead import Ahead
    from appliance.pipeline import Box
    from appliance.serving import Models

STEPPED, DIRECT, API = "stepped", "direct", "api"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=[STEPPED, DIRECT, API], required=True)
    parser.add_argument("--database", type=int, required=True, metavar="PID")
    parser.add_argument("--api", type=int, metavar="PID")
    parser.add_argument("--flames", type=Path, metavar="SVG", help="draw where the time goes")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with _counted(result, "imports"):
        # What the first file would otherwise pay for. Pandera's strategies load a tool for tests that no box has.
        for name in ("pandera.polars", "pandera.strategies.base_strategies", "httpx", "onnxruntime"):
            importlib.import_module(name)

        from appliance import pipeline, settings
    box = pipeline.open_box(settings.load())
    models = None
    if options.way != API:
        with _counted(result, "model"):
            models = _models(box)
        box = _direct(box, models, ahead=options.way == DIRECT)
    result["memory_before_mib"] = machine.peak_mib()
    stepped = options.way == STEPPED
    with flame.drawn(os.getpid(), options.flames) if options.flames else nullcontext():
        result |= _journey(box, options.database, options.api, stepped)
    result["memory_mib"] = machine.peak_mib()
    if options.api:
        result["memory_api_mib"] = machine.peak_mib(options.api)
    print(json.dumps(result))
    return 0


def _journey(box: Box, database: int, api: int | None, stepped: bool) -> dict[str, Any]:
    from appliance import pipeline
    from appliance.store import engine
    from tests.bench import steps

    # The pool's one connection: on a box too it is open when a file comes.
    engine.ping(box.engine)
    pids = machine.children(database)

    def clock() -> float:
        return DatabaseClock(pids)() if stepped else machine.tree_seconds(database)

    ours = [pid for pid in (os.getpid(), database, api) if pid]
    others = machine.Others(*ours)
    at_api = machine.tree_seconds(api) if api else 0.0
    result: dict[str, Any] = {}
    for phase, places, function in (
        ("ingest", steps.ingest_file, pipeline.ingest),
        ("predict", steps.predict_parts, pipeline.predict),
    ):
        watch = Stopwatch(clock)
        with watch.around(places()) if stepped else nullcontext(), watch.whole() as taken:
            done = function(box)
        result[phase] = {
            "done": done.as_dict(),
            "whole": asdict(taken),
            "steps": {name: asdict(spent) for name, spent in watch.steps.items()} if stepped else {},
        }
    result["api_cpu"] = machine.tree_seconds(api) - at_api if api else 0.0
    result["others"] = others.share()
    return result


def _models(box: Box) -> Models:
    from appliance.serving import Models

    models = Models(box.settings)
    models.refresh()
    return models


def _direct(box: Box, models: Models, ahead: bool) -> Box:
    """The same box, whose parts are predicted here, in the transaction that the API would use; with ``ahead`` the next one
    is scored meanwhile, which steps that are timed one by one cannot have."""
    from appliance.ahead import Ahead
    from appliance.pipeline import Box

    class Direct(Box):
        def client(self) -> Any:
            return _Here(self, models, Ahead() if ahead else None)

    return Direct(box.settings, box.engine)


@dataclass(frozen=True)
class _Here:
    box: Box
    models: Models
    ahead: Ahead | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def predict_part(self, part_id: int) -> dict[str, Any]:
        from appliance.predict import predict_part
        from tests.bench import steps

        with steps.transaction(self.box.engine) as connection:
            return asdict(predict_part(connection, self.models, part_id, self.box.settings, self.ahead))


@contextmanager
def _counted(result: dict[str, Any], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    result[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    sys.exit(main())
