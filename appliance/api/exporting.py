"""Everything that a filter matches, as CSV: page after page, so that neither memory nor a transaction grows with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from appliance.api import stored
from appliance.api.state import Api
from appliance.spreadsheet import inert
from appliance.store import queries
from appliance.store.queries import PredictionFilter

_PAGE = 5_000
_PLAIN = (
    "id", "predicted_at", "read_at", "profile", "machine", "source", "file_id", "row", "probability", "failing",
    "verdict", "late", "outside", "model_version",
)  # fmt: skip
_TIMES = ("predicted_at", "read_at")


def predictions(api: Api, wanted: PredictionFilter, *, readings: bool) -> Iterator[bytes]:
    """The newest first, in plant time; with ``readings`` the features that were used, and the ways of failing, too."""
    features, modes = _columns(api, wanted.profile) if readings else ((), ())
    zone = ZoneInfo(api.settings.timezone)
    last: int | None = None
    yield _lines([[*_PLAIN, *features, *(f"mode_{name}" for name in modes)]])
    while True:
        with api.transaction() as connection:
            page = queries.predictions(connection, wanted, _PAGE, after_id=last, whole=readings)
        yield _lines([_cells(api, row, features, modes, zone) for row in page])
        if len(page) < _PAGE:
            return
        last = page[-1]["id"]


def _columns(api: Api, profile: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Those of every model whose rows may come, the newest model's first."""
    with api.transaction() as connection:
        models = queries.models(connection, profile)
    features = dict.fromkeys(name for model in models for name in model["features"])
    return tuple(features), tuple(dict.fromkeys(name for model in models for name in model["modes"]))


def _cells(
    api: Api, row: Mapping[str, Any], features: Sequence[str], modes: Sequence[str], zone: ZoneInfo
) -> list[object]:
    said = stored.short(api.models, row)
    cells: list[object] = []
    for name in _PLAIN:
        value = said.get(name)
        if name in _TIMES and isinstance(value, datetime):
            value = value.astimezone(zone).isoformat(timespec="milliseconds")
        elif isinstance(value, bool):
            value = int(value)
        elif isinstance(value, float):
            value = f"{value:.7g}"
        cells.append(inert(value) if isinstance(value, str) else value)
    for names, known, values in (
        (features, row.get("feature_names", ()), row.get("features", ())),
        (modes, row.get("mode_names", ()), row.get("modes", ())),
    ):
        found = dict(zip(known, values, strict=True))
        cells += [None if found.get(name) is None else f"{found[name]:.7g}" for name in names]
    return cells


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
