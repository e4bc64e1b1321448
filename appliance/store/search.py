# ruff: noqa: S608  (statements are put together from words of our own; values are bound)
"""Finding predictions, newest first, in a table of many millions.

Each filter has a road of its own, and each road is spelled so that one index alone can give its order (``id + 0``,
``0 + id``): left to its estimates, PostgreSQL would at times walk through millions of rows for a page of a machine that has been
silent for a month.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, text

from appliance.errors import NotFound
from appliance.store.rows import LATE, OUTSIDE, SOURCES, Source
from appliance.store.writer import BUCKET_BITS, hour_of

Bin = Literal["hour", "day"]

_END = 2**63 - 1
# ix_prediction_suspect and ix_prediction_suspect_machine hold the failing rows and all from this probability on.
SUSPECT = 0.1
# From here on they stand by themselves in ix_prediction_suspect: few, and looked for most.
LIKELY = 0.5

_LIKELY = f"(p.probability >= {LIKELY}::real)::integer"
_WORDS = {number: word for word, number in SOURCES.items()}
_COLUMNS = "p.id, p.predicted_at, p.read_at, p.file_id, p.row, p.probability, p.source, p.flags, p.failing"
_WHOLE = ", p.features, p.modes, model.features AS feature_names, model.modes AS mode_names"
_NAMES = (
    "JOIN profile ON profile.id = p.profile_id JOIN machine ON machine.id = p.machine_id"
    " JOIN model ON model.id = p.model_id"
)


@dataclass(frozen=True, slots=True)
class PredictionFilter:
    """What is None does not filter. Times are those of the prediction: ``from_`` included, ``to`` not."""

    profile: str | None = None
    from_: datetime | None = None
    to: datetime | None = None
    source: Source | None = None
    machine: str | None = None
    failing: bool | None = None
    min_probability: float | None = None
    file_id: int | None = None


def predictions(
    conn: Connection, wanted: PredictionFilter, limit: int, after_id: int | None = None, *, whole: bool = False
) -> list[dict[str, Any]]:
    """At most ``limit`` rows, those written last first; ``after_id`` is the last id of the page before.

    Each with id, predicted_at, read_at, profile, machine, source, file_id, row, probability, failing, late, outside and
    model_version; ``whole`` adds features and modes with their names. Empty where the profile, machine or file is not
    known.
    """
    where: dict[str, Any] = {"limit": limit}
    conditions = _conditions(wanted, where)
    where |= _between(conn, wanted, after_id)
    if where["low"] >= where["high"]:
        return []
    roads = [
        f"(SELECT * FROM prediction AS p WHERE {' AND '.join([*road, *conditions])} ORDER BY {order} DESC LIMIT :limit)"
        for road, order in _roads(conn, wanted, where)
    ]
    if not roads:
        return []
    _only_in_order(conn, True)
    found = conn.execute(
        text(
            f"SELECT {_COLUMNS}{_WHOLE if whole else ''}, profile.name AS profile, machine.name AS machine,"
            " model.version AS model_version"
            f" FROM (SELECT * FROM ({' UNION ALL '.join(roads)}) AS found ORDER BY id DESC LIMIT :limit) AS p"
            f" {_NAMES} ORDER BY p.id DESC"
        ),
        where,
    )
    _only_in_order(conn, False)
    return [_readable(dict(row)) for row in found.mappings()]


def prediction(conn: Connection, prediction_id: int) -> dict[str, Any]:
    """One row with its ``features`` and ``modes`` (missing is None), their names, and the model's ``card``."""
    found = whole(conn, [prediction_id])
    if not found:
        raise NotFound(f"There is no prediction {prediction_id}.")
    return found[prediction_id]


def whole(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Rows by id as :func:`prediction` gives them; those that are not there any more are left out."""
    if not ids:
        return {}
    found = conn.execute(
        text(
            f"SELECT {_COLUMNS}, p.features, p.modes, profile.name AS profile, machine.name AS machine,"
            " model.version AS model_version, model.features AS feature_names, model.modes AS mode_names, model.card"
            f" FROM prediction AS p {_NAMES} WHERE p.id = ANY(:ids)"
        ),
        {"ids": list(ids)},
    )
    return {row["id"]: _readable(dict(row)) for row in found.mappings()}


def counts(conn: Connection, wanted: PredictionFilter, by: Bin, zone: str) -> list[dict[str, Any]]:
    """How many rows fit, by the hour or day of ``zone`` in which they were predicted: at, passing, failing; in order."""
    where: dict[str, Any] = {"zone": zone}
    conditions = _conditions(wanted, where)
    where |= _between(conn, wanted, None)
    whom = _whom(conn, wanted)
    if where["low"] >= where["high"] or not whom:
        return []
    suspect = _suspect(wanted)
    by_machine = wanted.machine is not None
    order = "p.id"
    if (suspect or by_machine) and wanted.file_id is None:
        order = "0 + p.id" if suspect and by_machine else "p.id + 0"
    conditions += [f"{order} >= :low", f"{order} < :high"]
    if wanted.machine is not None:
        conditions.append(f"p.machine_id IN ({', '.join(f'{machine:d}' for _, machine in whom)})")
    if suspect or wanted.profile is not None:
        conditions.append(f"p.profile_id IN ({', '.join(f'{profile:d}' for profile, _ in whom)})")
    # Into quarters of an hour first, of which there are few: to find the day of a zone is dear for millions of rows, and
    # every zone's hours begin with a quarter.
    query = (
        f"SELECT date_trunc('{by}', at, :zone) AS at, sum(rows - failing)::bigint AS passing, sum(failing)::bigint AS"
        " failing FROM (SELECT date_bin('15 minutes', p.predicted_at, '2000-01-01 00:00:00+00') AS at, count(*) AS rows,"
        f" count(*) FILTER (WHERE p.failing) AS failing FROM prediction AS p WHERE {' AND '.join(conditions)} GROUP BY 1)"
        " AS quarter GROUP BY 1 ORDER BY 1"
    )
    return [dict(row) for row in conn.execute(text(query), where).mappings()]


def _between(conn: Connection, wanted: PredictionFilter, after_id: int | None) -> dict[str, int]:
    """The ids between which everything lies that is wanted."""
    bounds = (_of_time(conn, wanted), _of_file(conn, wanted.file_id))
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    return {"low": max(0, low), "high": min(high, _END if after_id is None else after_id)}


def _only_in_order(conn: Connection, only: bool) -> None:
    """Have rows read in the order of an index: to fetch all that fit and sort them is never the way to a page."""
    switch = "off" if only else "on"
    switches = ", ".join(f"set_config('enable_{way}', '{switch}', true)" for way in ("sort", "bitmapscan", "seqscan"))
    conn.execute(text(f"SELECT {switches}"))


def _conditions(wanted: PredictionFilter, where: dict[str, Any]) -> list[str]:
    """What each row must fulfil, whichever road leads to it."""
    conditions = []
    if wanted.from_ is not None:
        conditions.append("p.predicted_at >= :from_")
        where["from_"] = wanted.from_
    if wanted.to is not None:
        conditions.append("p.predicted_at < :to")
        where["to"] = wanted.to
    if wanted.source is not None:
        # Said as a range, lest another index offer its order for what that of suspects is for.
        conditions.append("p.source BETWEEN :source AND :source")
        where["source"] = SOURCES[wanted.source]
    if wanted.failing is not None:
        conditions.append("p.failing" if wanted.failing else "NOT p.failing")
    if wanted.min_probability is not None:
        conditions.append("p.probability >= CAST(:probability AS real)")
        # What is too small for the column's type would be an error there, and is nothing here.
        where["probability"] = float(np.float32(wanted.min_probability))
    if wanted.file_id is not None:
        conditions.append("p.file_id = :file_id")
        where["file_id"] = wanted.file_id
    return conditions


def _roads(conn: Connection, wanted: PredictionFilter, where: dict[str, Any]) -> Iterator[tuple[list[str], str]]:
    """For each stretch of an index: the conditions that bound it, and the order in which it is read."""
    suspect = _suspect(wanted)
    if wanted.file_id is not None or not (suspect or wanted.machine or wanted.profile or wanted.source):
        whom = _whom(conn, wanted)
        where |= {"profiles": [profile for profile, _ in whom], "machines": [machine for _, machine in whom]}
        of_machines = ["p.machine_id = ANY(:machines)"] if wanted.machine else []
        yield ["p.id >= :low", "p.id < :high", "p.profile_id = ANY(:profiles)", *of_machines], "p.id"
        return
    stretch = ["p.id + 0 >= :low", "p.id + 0 < :high"]
    for profile, machine in _whom(conn, wanted):
        if suspect and machine is not None:
            yield [f"p.machine_id = {machine:d}", "0 + p.id >= :low", "0 + p.id < :high"], "0 + p.id"
        elif suspect:
            for likely in (1,) if (wanted.min_probability or 0) >= LIKELY else (1, 0):
                yield [f"p.profile_id = {profile:d}", f"{_LIKELY} = {likely:d}", *stretch], "p.id + 0"
        elif machine is not None:
            yield [f"p.machine_id = {machine:d}", *stretch], "p.id + 0"
        else:
            for source in [SOURCES[wanted.source]] if wanted.source else SOURCES.values():
                yield [f"p.profile_id = {profile:d}", f"p.source = {source:d}", *stretch], "p.id + 0"


def _suspect(wanted: PredictionFilter) -> bool:
    """Whether all that is wanted stands in the indexes of suspects."""
    return wanted.failing is True or (wanted.min_probability or 0) >= SUSPECT


def _whom(conn: Connection, wanted: PredictionFilter) -> list[tuple[int, int | None]]:
    """The profiles that are asked for, each with its machine of that name where a machine is asked for."""
    if wanted.machine is None:
        query = "SELECT id, NULL FROM profile WHERE name = coalesce(:profile, name)"
    else:
        query = (
            "SELECT m.profile_id, m.id FROM machine m JOIN profile ON profile.id = m.profile_id"
            " WHERE m.name = :machine AND profile.name = coalesce(:profile, profile.name)"
        )
    asked = {"profile": wanted.profile, "machine": wanted.machine}
    return [(row[0], row[1]) for row in conn.execute(text(query), asked)]


def _of_time(conn: Connection, wanted: PredictionFilter) -> tuple[int, int]:
    """The ids between which everything of that time lies; the clock may have jumped, so other times may lie there."""
    if wanted.from_ is None and wanted.to is None:
        return 0, _END
    hours, where = ["true"], {}
    if wanted.from_ is not None:
        hours.append("hour >= :from_")
        where["from_"] = hour_of(wanted.from_)
    if wanted.to is not None:
        hours.append("hour < :to")
        where["to"] = wanted.to
    query = f"SELECT min(bucket), max(bucket) FROM prediction_hour WHERE {' AND '.join(hours)}"
    first, last = conn.execute(text(query), where).one()
    return (0, 0) if first is None else (first << BUCKET_BITS, (last + 1) << BUCKET_BITS)


def _of_file(conn: Connection, file_id: int | None) -> tuple[int, int]:
    if file_id is None:
        return 0, _END
    query = "SELECT min(first_id), max(last_id) + 1 FROM part WHERE file_id = :id"
    first, end = conn.execute(text(query), {"id": file_id}).one()
    return (0, 0) if first is None else (first, end)


def _readable(made: dict[str, Any]) -> dict[str, Any]:
    flags = made.pop("flags")
    made |= {"source": _WORDS[made["source"]], "late": bool(flags & LATE), "outside": bool(flags & OUTSIDE)}
    for name in ("features", "modes"):
        if name in made:
            # JSON has no NaN.
            made[name] = [None if math.isnan(value) else value for value in made[name]]
    return made
