"""Bytes that a row of the milling profile takes on the disk: ``python -m tests.bench.room``."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from appliance import outputs, quality, reader
from appliance.store import embedded, migrations, retention, writer
from appliance.store import engine as engines
from model.plants import PLANTS, csv_bytes
from tests import profiles
from tests.unit.store import made

ROWS = 200_000
# Of rows, so many are failing or likely to: they stand in indexes of their own.
SUSPECT_SHARE = 0.1
ROWS_A_DAY = (10_000, 100_000, 1_000_000)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="appliance-room-") as folder:
        original, good = _files(Path(folder))
        predicted = _predictions(Path(folder) / "database")
    print(f"a row: original {original:.0f} bytes, good {good:.0f}, prediction with its indexes {predicted:.0f}")
    for rows in ROWS_A_DAY:
        gb = [rows * days * size / 1e9 for days, size in ((30, original), (365, good), (730, predicted))]
        print(f"{rows:,} rows a day: archive of 30 days {gb[0]:.1f} GB, good rows of a year {gb[1]:.1f} GB,"
              f" predictions of 730 days {gb[2]:.1f} GB")  # fmt: skip


def _files(folder: Path) -> tuple[float, float]:
    profile = profiles.load("milling")
    data = csv_bytes(PLANTS["milling"](), ROWS, seed=1)
    good = folder / "good.parquet"
    with reader.read_bytes(data, "csv", profile) as batches:
        checker = quality.Checker(profile, batches.header, "mill-1", datetime.now(UTC))
        with outputs.GoodWriter(good, profile, "0" * 64, folder) as out:
            for batch in batches:
                out.append(checker.check(batch).good)
            rows = out.commit()
    return len(data) / ROWS, good.stat().st_size / rows


def _predictions(folder: Path) -> float:
    """With as many features and ways of failing as the milling model has."""
    profile = profiles.load("milling")
    rng = np.random.default_rng(1)
    server = embedded.start(folder)
    try:
        migrations.migrate(server.dsn)
        engine = engines.connect(server.dsn)
        with engines.transaction(engine) as connection:
            plant = made.plant(connection)
            inputs, modes = len(profile.model.inputs), len(profile.modes)
            suspect = rng.random(ROWS) < SUSPECT_SHARE
            batch = replace(
                made.batch(plant, ROWS),
                probability=np.where(suspect, rng.uniform(0.1, 1, ROWS), rng.uniform(0, 0.09, ROWS)).astype(np.float32),
                failing=suspect,
                features=rng.normal(size=(ROWS, inputs)).astype(np.float32),
                modes=rng.random((ROWS, modes)).astype(np.float32),
            )
            writer.write_predictions(connection, batch)
            size = sum(retention.size_of(connection, month) for month in retention.months(connection))
        engine.dispose()
        return size / ROWS
    finally:
        server.stop()


if __name__ == "__main__":
    main()
