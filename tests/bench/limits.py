"""What disk, CPU and libraries allow on this machine for the same rows; run on a box whose file was predicted. Prints JSON.

Each figure is the plain library call over all rows at once, with nothing of the appliance's promises around it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
import psycopg2
from numpy.typing import NDArray

from appliance import bundle, contract, features, settings, signing
from appliance.bundle import Bundle
from appliance.onnx_gate import INPUT, OUTPUT
from appliance.profile import Column
from tests.bench import machine, steps
from tests.bench.patience import Patience
from tests.bench.workplace import PROFILE

SLICE = 100_000
CHEAP = 5
COMMITS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--database", type=int, required=True, metavar="PID")
    parser.add_argument("--patience", type=float, default=0, metavar="MINUTES")
    options = parser.parse_args()
    box = settings.load()
    served = bundle.active(box.models, PROFILE, signing.trusted_keys(box.keys))
    good = next(box.good.rglob("*.parquet"))
    scratch = box.work / "limits"
    scratch.mkdir(parents=True)
    rows = pl.read_parquet(good)
    matrix = features.matrix(served.profile, rows)
    session = _session(served.model_bytes, box.scoring_threads)
    connection = psycopg2.connect(box.require_dsn())
    cheap, dear = max(CHEAP, options.repeats), options.repeats
    series: dict[str, Callable[[], Iterator[float]]] = {
        "read the bytes": _times(cheap, lambda: _read(options.source)),
        "copy": _times(cheap, lambda: _copy(options.source, scratch / "copy")),
        "hash": _times(cheap, lambda: _hash(options.source)),
        steps.READ: _times(cheap, lambda: pl.read_csv(options.source, infer_schema=False)),
        steps.CHECK: _times(dear, _check(served, options.source)),
        steps.GOOD: _times(cheap, lambda: _write(rows, scratch / "rows.parquet")),
        steps.READ_PART: _times(cheap, lambda: pl.read_parquet(good)),
        steps.FEATURES: _times(cheap, lambda: features.matrix(served.profile, rows)),
        steps.SCORE: _times(dear, lambda: _score(session, matrix)),
        steps.STORE: partial(_copies, connection, dear),
        steps.COMMIT: partial(_commits, connection),
    }
    ours, patience = (os.getpid(), options.database), Patience(options.patience)
    found = {name: patience.measure(f"limit: {name}", partial(_measured, one, ours)) for name, one in series.items()}
    connection.close()
    times = {name: one["times"] for name, one in found.items()}
    whole = sum(one["wall"] for one in found.values())
    others = sum(one["others"] * one["wall"] for one in found.values()) / whole
    print(json.dumps({"times": times, "others": others}))
    return 0


def _measured(series: Callable[[], Iterator[float]], ours: Sequence[int]) -> dict[str, Any]:
    others, start = machine.Others(*ours), time.perf_counter()
    times = list(series())
    return {"times": times, "others": others.share(), "wall": time.perf_counter() - start}


def _times(repeats: int, function: Callable[[], Any]) -> Callable[[], Iterator[float]]:
    def series() -> Iterator[float]:
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            yield time.perf_counter() - start

    return series


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(2**20):
            pass


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    _sync(target)


def _hash(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _write(rows: pl.DataFrame, path: Path) -> None:
    rows.write_parquet(path, compression="lz4")
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _check(served: Bundle, source: Path) -> Callable[[], None]:
    """Every cell cast once, every rule looked at once, by plain expressions."""
    profile = served.profile
    cells = pl.read_csv(source, infer_schema=False)
    known = [column for column in profile.columns if column.header in cells.columns]
    rules = list(contract.rules(profile, [column.name for column in known]))

    def check() -> None:
        typed = cells.select(_cast(column) for column in known)
        typed.select((~rule.holds).any().alias(str(number)) for number, rule in enumerate(rules))

    return check


def _cast(column: Column) -> pl.Expr:
    cell = pl.col(column.header)
    kind = features.dtype(column)
    return ((cell == "1") if column.type == "boolean" else cell.cast(kind, strict=False)).alias(column.name)


def _session(model: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _score(session: ort.InferenceSession, matrix: NDArray[np.float32]) -> None:
    for start in range(0, len(matrix), SLICE):
        session.run([OUTPUT], {INPUT: matrix[start : start + SLICE]})


def _copies(connection: Any, repeats: int) -> Iterator[float]:
    """The very rows that were predicted, put back into the same table from memory and committed."""
    rows = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM prediction")
        ((partition,),) = cursor.fetchall()
        cursor.copy_expert(f"COPY {partition} TO STDOUT (FORMAT binary)", rows)
        for _ in range(repeats):
            cursor.execute(f"TRUNCATE {partition}")
            connection.commit()
            connection.autocommit = True
            cursor.execute("CHECKPOINT")
            connection.autocommit = False
            rows.seek(0)
            start = time.perf_counter()
            cursor.copy_expert(f"COPY {partition} FROM STDIN (FORMAT binary)", rows, size=2**20)
            connection.commit()
            yield time.perf_counter() - start


def _commits(connection: Any) -> Iterator[float]:
    """Of one row each."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS limit_commit (n integer)")
        connection.commit()
        for number in range(COMMITS):
            cursor.execute("INSERT INTO limit_commit VALUES (%s)", [number])
            start = time.perf_counter()
            connection.commit()
            yield time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
