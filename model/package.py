"""A trained model's files: everything that a bundle holds beside its checksums and signature."""

from __future__ import annotations

import hashlib
import io
import json
import math
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import bundle_check
from appliance.profile import Profile
from model import card, card_text, plots
from model.card import Origin
from model.data import TrainingData
from model.evaluate import Evaluation
from model.export import Parity
from model.forest import Forest

REFERENCE_ROWS = 2000
_GOLDEN_NEAR, _GOLDEN_SPREAD, _GOLDEN_PROBES = 24, 32, 16


def content(data: TrainingData, model_bytes: bytes, folds: int, seed: int) -> str:
    """SHA-256 (hex) of all that decides a bundle, and not when it was made: the same content is the same model."""
    told = {
        "model": hashlib.sha256(model_bytes).hexdigest(),
        "profile": data.profile.hash(),
        "data": data.sha256,
        "folds": folds,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def version(created: datetime, content_hash: str) -> str:
    """Day and content, such as 20260301-0123456789ab: sorted by age, and the same content is known on any day."""
    return f"{created:%Y%m%d}-{short(content_hash)}"


def short(content_hash: str) -> str:
    return content_hash[:12]


def files(
    data: TrainingData,
    evaluation: Evaluation,
    forest: Forest,
    model_bytes: bytes,
    parity: Parity,
    origin: Origin,
    profile_text: str,
    probes: dict[str, NDArray[np.float32]],
) -> dict[str, bytes]:
    """Name -> bytes, those of ``bundle_check.SIGNED``. The same content gives the same bytes, but for date and time taken."""
    profile = data.profile
    told = card.build(data, evaluation, parity, origin)
    precision_recall, calibration, importance = bundle_check.PLOTS
    return {
        bundle_check.MODEL: model_bytes,
        bundle_check.PROFILE: profile_text.encode(),
        bundle_check.CARD: _json(told, indent=1),
        bundle_check.CARD_TEXT: card_text.text(told, profile).encode(),
        bundle_check.REFERENCE: _reference(data, evaluation, origin.seed),
        bundle_check.GOLDEN: _golden(profile, forest, data.matrix, probes, origin.seed),
        precision_recall: plots.precision_recall(profile, data.targets[:, 0] > 0.5, evaluation),
        calibration: plots.calibration(told["calibration"]),
        importance: plots.importance(profile, evaluation.importance),
    }


def _reference(data: TrainingData, evaluation: Evaluation, seed: int) -> bytes:
    """A random sample of training rows as the model sees them, with what a model that never saw them said."""
    drawn = np.random.default_rng(seed).permutation(len(data.matrix))[:REFERENCE_ROWS]
    kept = np.sort(drawn)
    frame = pl.DataFrame(data.matrix[kept], schema=dict.fromkeys(data.profile.matrix_names, pl.Float32)).with_columns(
        pl.Series("_probability", evaluation.probability[kept, 0], dtype=pl.Float32),
        pl.Series("_label", data.targets[kept, 0] > 0.5),
    )
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()


def _golden(
    profile: Profile, forest: Forest, matrix: NDArray[np.float32], probes: dict[str, NDArray[np.float32]], seed: int
) -> bytes:
    """Rows with scikit-learn's results: nearest to the threshold, drawn at random, and of every kind of probe."""
    draw = np.random.default_rng(seed)
    nearest = np.argsort(np.abs(forest.predict(matrix)[:, 0] - profile.threshold), kind="stable")[:_GOLDEN_NEAR]
    spread = draw.permutation(len(matrix))[:_GOLDEN_SPREAD]
    picked = [made[draw.permutation(len(made))[:_GOLDEN_PROBES]] for made in probes.values()]
    rows = np.concatenate([matrix[nearest], matrix[spread], *picked])
    expected = forest.predict(rows).astype(np.float32)
    failing = expected[:, 0] >= np.float32(profile.threshold)
    return _json({"matrix": _plain(rows), "expected": _plain(expected), "failing": failing.tolist()})


def _plain(values: NDArray[np.float32]) -> list[list[float | None]]:
    """float32 as the double of the same value, which JSON writes so that it reads back exactly; NaN as null."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


def _json(value: object, indent: int | None = None) -> bytes:
    return (json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent) + "\n").encode()
