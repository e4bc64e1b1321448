"""What never was a file becomes one for the bucket: predictions and outcomes as Parquet, with units beside the columns.

The file comes first, then its row in the outbox: a kill in between leaves a file that nobody knows, which the next pass
removes. Rows are put in once, by their ids.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from appliance import durable
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import export as store
from appliance.store import queries
from appliance.store.engine import Connection, Engine
from appliance.store.export import Group
from appliance.store.outbox import Waiting

if TYPE_CHECKING:
    import polars as pl

# Ids in a file at most; as many rows weigh some megabytes, and bound the memory of making it.
IDS_AT_A_TIME = 100_000
# A transaction that holds ids back is an answer of the API under way, or a part: it ends within seconds.
_PATIENCE_SECONDS, _LOOK_SECONDS = 5.0, 0.1
FOLDER = "outbox"


def predictions(settings: Settings, engine: Engine, go_on: Callable[[], bool], *, flush: bool = False) -> int:
    """Put predictions that are not in the outbox yet into files; the number of files.

    As many as fill one go at once; fewer go together, ``s3_batch_minutes`` after the last, or now with ``flush``.
    """
    with engines.transaction(engine) as connection:
        seen = store.horizon(connection)
    if not _settled(engine, seen):
        return 0
    with engines.transaction(engine) as connection:
        _, moved_at = store.mark(connection)
        waited = None if moved_at is None else abs(queries.clock(connection) - moved_at)
    all_of_it = flush or waited is None or waited >= timedelta(minutes=settings.s3_batch_minutes)
    made = 0
    while go_on():
        with engines.transaction(engine) as connection:
            last, _ = store.mark(connection)
            first = store.first_after(connection, last)
            if first is None or first > seen.last_id:
                return made
            until = min(first + IDS_AT_A_TIME - 1, seen.last_id)
            if not all_of_it and until - first + 1 < IDS_AT_A_TIME:
                return made
            for group in store.groups(connection, first, until):
                path, data = predictions_file(settings, connection, group, first, until)
                durable.write(settings.data_dir / path, data, mode=0o640)
                digest = hashlib.sha256(data).hexdigest()
                store.put_predictions(connection, group, first, until, path, len(data), digest)
                made += 1
            store.move_mark(connection, until)
    return made


def outcomes(settings: Settings, engine: Engine) -> int:
    """Put outcomes that are not in the outbox yet into files, one a profile and day; the number of files."""
    made = 0
    with engines.transaction(engine) as connection:
        told = store.outcomes(connection, None)
        for (profile_id, profile, day), rows in groupby(told, key=_profile_and_day):
            listed = list(rows)
            path, data = outcomes_file(settings, profile, day, listed)
            durable.write(settings.data_dir / path, data, mode=0o640)
            digest = hashlib.sha256(data).hexdigest()
            store.put_outcomes(connection, profile_id, day, [row["id"] for row in listed], path, len(data), digest)
            made += 1
    return made


def once_more(settings: Settings, engine: Engine, waiting: Waiting) -> bool:
    """Make the file of predictions or outcomes anew that was removed after it was copied; False where their rows are
    gone."""
    with engines.transaction(engine) as connection:
        data = _again(settings, connection, waiting)
    if data is None:
        return False
    durable.write(settings.data_dir / waiting.path, data, mode=0o640)
    return True


def _again(settings: Settings, connection: Connection, waiting: Waiting) -> bytes | None:
    if waiting.layer == "outcomes":
        rows = store.outcomes(connection, waiting.id)
        return outcomes_file(settings, waiting.profile, waiting.day, rows)[1] if rows else None
    first, last = waiting.first_id, waiting.last_id
    if first is None or last is None:
        return None
    for group in store.groups(connection, first, last):
        if (group.profile_id, group.model_id, group.day) == (waiting.profile_id, waiting.model_id, waiting.day):
            return predictions_file(settings, connection, group, first, last)[1]
    return None


def predictions_file(
    settings: Settings, connection: Connection, group: Group, first: int, last: int
) -> tuple[str, bytes]:
    """Its place below the data folder, and its bytes."""
    import polars as pl

    stream = io.BytesIO()
    store.copy_predictions(connection, group, first, last, stream)
    stream.seek(0)
    numbers = {f"f{n}": name for n, name in enumerate(group.features, 1)}
    modes = {f"m{n}": name for n, name in enumerate(group.modes, 1)}
    floats = dict.fromkeys(("probability", *numbers, *modes), pl.Float32)
    whole = dict.fromkeys(("id", "predicted_at", "read_at", "file_id"), pl.Int64)
    small = {"row": pl.Int32, "failing": pl.Int8, "late": pl.Int8, "outside": pl.Int8}
    words = dict.fromkeys(("machine", "model_version", "source"), pl.String)
    frame = pl.read_csv(stream, schema_overrides={**whole, **small, **words, **floats})
    frame = frame.with_columns(
        pl.col("machine").fill_null(""),
        *(pl.from_epoch(name, "us").dt.replace_time_zone("UTC").alias(name) for name in ("predicted_at", "read_at")),
        *(pl.col(name).cast(pl.Boolean) for name in ("failing", "late", "outside")),
    ).rename(
        {old: f"feature_{name}" for old, name in numbers.items()} | {old: f"mode_{name}" for old, name in modes.items()}
    )
    described = list(_described(group.document))
    units = {f"feature_{name}": unit for name, unit, _ in described if unit and name in group.features}
    titles = {f"feature_{name}": title for name, _, title in described if name in group.features}
    said = {"model_version": group.version, "first_id": str(first), "last_id": str(last)}
    path = f"{FOLDER}/predictions-{first}-{last}-{group.profile}-{group.model_id}-{group.day}.parquet"
    return path, _parquet(frame, settings, "predictions", group.profile, units, titles, said)


def outcomes_file(settings: Settings, profile: str, day: date, rows: Sequence[Mapping[str, Any]]) -> tuple[str, bytes]:
    """Its place below the data folder, and its bytes."""
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {"id": pl.Int64, "machine": pl.String, "alarm_id": pl.Int64, "happened_at": utc, "kind": pl.String,
              "note": pl.String, "predicted": pl.String, "created_at": utc}  # fmt: skip
    frame = pl.DataFrame({name: [row[name] for row in rows] for name in schema}, schema=schema)
    path = f"{FOLDER}/outcomes-{rows[0]['id']}-{rows[-1]['id']}-{profile}-{day}.parquet"
    return path, _parquet(frame, settings, "outcomes", profile, {}, {}, {})


def _parquet(
    frame: pl.DataFrame,
    settings: Settings,
    layer: str,
    profile: str,
    units: Mapping[str, str],
    titles: Mapping[str, str],
    said: Mapping[str, str],
) -> bytes:
    target = io.BytesIO()
    metadata = {
        "layer": layer,
        "profile": profile,
        "site": settings.site,
        "units": json.dumps(units, ensure_ascii=False),
        "titles": json.dumps(titles, ensure_ascii=False),
        **said,
    }
    frame.write_parquet(target, metadata=metadata)
    return target.getvalue()


def _described(document: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """(name, unit, title) of all that a profile's model may be made of."""
    for kind in ("columns", "features"):
        for each in document.get(kind, ()):
            yield each["name"], each.get("unit", ""), each.get("title", "")


def _settled(engine: Engine, seen: store.Horizon) -> bool:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        with engines.transaction(engine) as connection:
            if store.is_settled(connection, seen):
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(_LOOK_SECONDS)


def _profile_and_day(row: Mapping[str, Any]) -> tuple[int, str, date]:
    return row["profile_id"], row["profile"], row["day"]
