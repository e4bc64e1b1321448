"""How long a backup, its verification, a drill and a restore take with millions of predictions.

``python -m tests.bench.restore [--rows 5000000] [--write]``: on a durable database of its own, with rows as the API
writes them; ``--write`` renews docs/performance-restore.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from appliance import backup, backup_drill, backup_places, restore
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import embedded, writer
from appliance.store import engine as engines
from appliance.store.migrations import migrate
from tests.bench import machine
from tests.unit.store import made

PAGE = Path(__file__).parents[2] / "docs" / "performance-restore.md"
_AT_A_TIME = 100_000
# Of the milling model: features and ways of failing in a row.
_FEATURES, _MODES = 9, 4
_MIB = 1 << 20
GOAL_SECONDS = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--write", action="store_true", help="renew the page")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="appliance-bench-"))
    server = embedded.start(folder / "postgres")
    others = machine.Others(os.getpid(), server.pid or os.getpid())
    try:
        found = _measure(folder, server.dsn, asked.rows)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    page = _page(found, asked.rows, others.share())
    print(page)
    if asked.write:
        PAGE.write_text(page, encoding="utf-8")


def _measure(folder: Path, dsn: str, rows: int) -> dict[str, Any]:
    place = folder / "place"
    place.mkdir()
    (folder / "data").mkdir()
    settings = Settings(data_dir=folder / "data", dsn=dsn, backup_to=str(place), disk_reserve_mb=0)
    migrate(dsn)
    _fill(dsn, rows)
    box = Box(settings, engines.connect(dsn, "bench"))
    found: dict[str, Any] = {}
    done = _timed(found, "backup, read back", lambda: backup.once(box))
    found["backup_bytes"] = done.bytes
    _timed(found, "verify", lambda: backup.verify(box, backup_places.of(settings), done.name))
    _timed(found, "restore drill", lambda: backup_drill.once(box))
    with engines.transaction(box.engine) as connection:
        found["database_bytes"] = backup.dump.size(connection)
    box.engine.dispose()
    _timed(found, "restore", lambda: restore.run(settings, done.name))
    return found


def _timed(found: dict[str, Any], name: str, step: Callable[[], Any]) -> Any:
    start = time.monotonic()
    result = step()
    found[name] = time.monotonic() - start
    print(f"{name}: {found[name]:.1f} s", file=sys.stderr)
    return result


def _fill(dsn: str, rows: int) -> None:
    engine = engines.connect(dsn, "bench")
    rng = np.random.default_rng(5)
    with engines.transaction(engine) as connection:
        plant = made.plant(connection)
    for start in range(0, rows, _AT_A_TIME):
        count = min(_AT_A_TIME, rows - start)
        batch = made.batch(
            plant,
            count,
            seed=start,
            features=rng.normal(300, 20, (count, _FEATURES)).astype(np.float32),
            modes=rng.random((count, _MODES)).astype(np.float32),
        )
        with engines.transaction(engine) as connection:
            writer.write_predictions(connection, batch)
    engine.dispose()


def _page(found: dict[str, Any], rows: int, others: float) -> str:
    facts = machine.facts()
    named = ("backup, read back", "verify", "restore drill", "restore")
    lines = "\n".join(f"| {name} | {found[name]:.1f} s |" for name in named)
    met = "met" if found["restore"] <= GOAL_SECONDS else "missed"
    return f"""# How long backup and restore take

Measured by `python -m tests.bench.restore --rows {rows} --write` on {datetime.now(UTC):%Y-%m-%d}, on {facts["cores"]} cores of
{facts["cpu"]}, {facts["memory_gib"]} GiB, {facts["system"]}, Python {facts["python"]}: a database of {rows:,} predictions with
{_FEATURES} features and {_MODES} ways of failing each, durable, on the embedded PostgreSQL. Other programs took {others:.0%} of the CPU
meanwhile.

| step | seconds |
| --- | ---: |
{lines}

The database takes {found["database_bytes"] / _MIB:,.0f} MiB, the backup {found["backup_bytes"] / _MIB:,.0f} MiB. The restore is whole: every byte compared with
the manifest, the database filled beside the old one, each table counted and sampled, and renamed. Its goal of {GOAL_SECONDS} s is {met}.
"""


if __name__ == "__main__":
    main()
