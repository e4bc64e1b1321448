"""Validated rows -> features -> scores, with nothing stored: what a prediction is, apart from its place in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import features
from appliance.profile import MACHINE, TIME, Profile
from appliance.scorer import Scores
from appliance.serving import Served
from appliance.store.rows import OUTSIDE, MachineState


@dataclass(frozen=True, slots=True)
class Scored:
    """Arrays are of shape (rows, ...)."""

    scores: Scores
    flags: NDArray[np.int16]
    features: NDArray[np.float32]
    frame: pl.DataFrame  # the rows with their derived features

    def slice(self, start: int, rows: int) -> Self:
        """Some of the rows, as if they had been all."""
        part = slice(start, start + rows)
        scores = Scores(self.scores.probability[part], self.scores.failing[part], self.scores.modes[part])
        frame = self.frame.slice(start, rows)
        return replace(self, scores=scores, flags=self.flags[part], features=self.features[part], frame=frame)


def score(served: Served, frame: pl.DataFrame, history: pl.DataFrame | None, chunk: int) -> Scored:
    """Rows of the shape that :mod:`appliance.quality` gives, ``chunk`` at a time; none is marked as late."""
    featured = features.feature_frame(served.profile, frame, history)
    matrix = features.matrix_of(served.profile, featured)
    flags = (_outside(served, matrix) * OUTSIDE).astype(np.int16)
    return Scored(_scores(served, matrix, chunk), flags, matrix, featured)


def history_of(profile: Profile, states: Mapping[int, MachineState], names: Mapping[int, str]) -> pl.DataFrame | None:
    """The last rows of machines, for window features; ``names`` are those that stand in the rows to come."""
    rows = [{**row, MACHINE: names[machine]} for machine, state in states.items() for row in state.recent]
    if not rows:
        return None
    columns = {f.window.column: pl.Float64() for f in profile.features if f.window is not None}
    frame = pl.DataFrame(rows, schema={MACHINE: pl.String(), TIME: pl.String(), **columns})
    return frame.with_columns(pl.col(TIME).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC"))


def _scores(served: Served, matrix: NDArray[np.float32], chunk: int) -> Scores:
    """Score in chunks: between two of them ONNX Runtime's threads are free for somebody's single check."""
    pieces = [served.scorer.score(matrix[at : at + chunk]) for at in range(0, len(matrix), chunk)]
    if len(pieces) == 1:
        return pieces[0]
    return Scores(
        probability=np.concatenate([p.probability for p in pieces]),
        failing=np.concatenate([p.failing for p in pieces]),
        modes=np.concatenate([p.modes for p in pieces]),
    )


def _outside(served: Served, matrix: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows with a value that the model has never seen the like of."""
    low, high = served.seen
    with np.errstate(invalid="ignore"):
        outside = np.any((matrix < low) | (matrix > high), axis=1)
    return np.asarray(outside, dtype=np.bool_)
