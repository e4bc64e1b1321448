"""Predictions in the words of the profile: JSON for programs and screens, tables for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from appliance import reasons
from appliance.api import wire
from appliance.api.bodies import Rows
from appliance.api.wire import Format
from appliance.predict import NOBODY, Predicted
from appliance.profile import MACHINE, ROW, Profile
from appliance.scored import Scored
from appliance.serving import Served
from appliance.store.rows import LATE, OUTSIDE

# float32 holds seven digits: more would be noise on screens.
_DIGITS = 7


def render(
    served: Served, done: Scored, asked: Sequence[tuple[Rows, Format]], source: str
) -> Iterator[tuple[bytes, int]]:
    """The answers to requests that were predicted together, in their order, and how many rows of each fail."""
    failing = done.scores.failing.tolist()
    said = list(_predictions(served.profile, done)) if any(format_ == "json" for _, format_ in asked) else []
    start = 0
    for rows, format_ in asked:
        end = start + rows.good.height
        if format_ == "json":
            content = wire.to_bytes(_document(served, done, rows, source, said[start:end]))
        else:
            table = _table(served.profile, done.slice(start, end - start), rows)
            content = wire.to_csv(table) if format_ == "csv" else wire.to_parquet(table)
        yield content, sum(failing[start:end])
        start = end


def verdict(profile: Profile, failing: bool) -> str:
    """How the profile says it."""
    return profile.words.failing if failing else profile.words.passing


def why(profile: Profile, values: Mapping[str, Any], modes: Sequence[float]) -> dict[str, Any]:
    """The reason of a row predicted to fail."""
    said = reasons.reason(profile, values, modes)
    return {"mode": said.mode, "title": said.title, "text": said.text, "action": said.action}


def _document(
    served: Served, done: Scored, rows: Rows, source: str, predictions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    profile, good = served.profile, len(predictions)
    return {
        "profile": profile.name,
        "model_version": served.version,
        "threshold": profile.threshold,
        "predicted_at": done.predicted_at if isinstance(done, Predicted) else None,
        "source": source,
        "stored": isinstance(done, Predicted),
        "rows": {"received": good + rows.bad, "predicted": good, "rejected": rows.bad},
        "predictions": predictions,
        "rejected": list(rows.rejected),
    }


def _predictions(profile: Profile, done: Scored) -> Iterator[dict[str, Any]]:
    names = [mode.name for mode in profile.modes]
    words = {failing: verdict(profile, failing) for failing in (False, True)}
    exact = done.scores.modes.tolist()
    reason = _reasons(profile, done)
    columns = zip(
        done.frame[ROW].to_list(),
        done.frame[MACHINE].to_list(),
        _rounded(done.scores.probability),
        done.scores.failing.tolist(),
        _rounded(done.scores.modes),
        (done.flags & LATE > 0).tolist(),
        (done.flags & OUTSIDE > 0).tolist(),
        strict=True,
    )
    ids = _ids(done)
    for at, (row, machine, probability, failing, modes, late, outside) in enumerate(columns):
        said = {
            "id": ids[at],
            "row": row,
            "machine": None if machine == NOBODY else machine,
            "probability": probability,
            "failing": failing,
            "verdict": words[failing],
            "modes": dict(zip(names, modes, strict=True)),
            "late": late,
            "outside": outside,
        }
        if failing:
            said["reason"] = why(profile, next(reason), exact[at])
        yield said


def _reasons(profile: Profile, done: Scored) -> Iterator[dict[str, Any]]:
    """Readings and derived features of each failing row, in order."""
    for at in np.flatnonzero(done.scores.failing).tolist():
        yield done.frame.row(at, named=True)


def _table(profile: Profile, done: Scored, rows: Rows) -> pl.DataFrame:
    """One line a row that came; columns of the prediction start with an underscore, like no column of a profile."""
    added = columns(profile, done)
    added["_rejected"] = pl.Series([None] * done.frame.height, dtype=pl.String)
    table = done.frame.with_columns(**added)
    if rows.rejected:
        refused = pl.DataFrame(
            {
                ROW: [one["row"] for one in rows.rejected],
                "_rejected": ["; ".join(one["reasons"]) for one in rows.rejected],
            },
            schema={ROW: table.schema[ROW], "_rejected": pl.String()},
        )
        table = pl.concat([table, refused], how="diagonal").sort(ROW)
    front = [ROW, *(name for name in table.columns if name.startswith("_") and name not in added and name != ROW)]
    return table.select(*front, pl.exclude(*front, *added), *added)


def columns(profile: Profile, done: Scored) -> dict[str, pl.Series]:
    """What a table tells of each predicted row."""
    scores = done.scores
    texts: list[str | None] = [None] * len(scores.failing)
    for at, values in zip(np.flatnonzero(scores.failing).tolist(), _reasons(profile, done), strict=True):
        texts[at] = reasons.reason(profile, values, scores.modes[at].tolist()).text
    return {
        "_id": pl.Series(_ids(done), dtype=pl.Int64),
        "_probability": pl.Series(_rounded(scores.probability), dtype=pl.Float64),
        "_failing": pl.Series(scores.failing),
        **{
            f"_mode_{mode.name}": pl.Series(_rounded(scores.modes[:, at]), dtype=pl.Float64)
            for at, mode in enumerate(profile.modes)
        },
        "_reason": pl.Series(texts, dtype=pl.String),
        "_late": pl.Series((done.flags & LATE) > 0),
        "_outside": pl.Series((done.flags & OUTSIDE) > 0),
    }


def _ids(done: Scored) -> Sequence[int | None]:
    """Under which each row is stored, where it is."""
    rows = len(done.flags)
    return range(done.first_id, done.first_id + rows) if isinstance(done, Predicted) else [None] * rows


def _rounded(values: Any) -> Any:
    return np.round(values.astype(np.float64), _DIGITS).tolist()
