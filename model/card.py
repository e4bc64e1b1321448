"""The model's card: what it predicts, how well, on what data, and where not to trust it. JSON for code, text for people."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.profile import Column, Profile
from model.data import TrainingData
from model.evaluate import Counts, Evaluation
from model.export import Parity

_PACKAGES = ("numpy", "onnx", "onnxruntime", "polars", "scikit-learn", "skl2onnx")
_QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_BINS = 10


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from, beside its data."""

    version: str
    content: str  # SHA-256 (hex) of all that decides the model: the same content, the same model
    created: datetime
    seed: int
    folds: int
    trees: int
    seconds: float


def build(data: TrainingData, evaluation: Evaluation, parity: Parity, origin: Origin) -> dict[str, Any]:
    """The card as a JSON object."""
    profile = data.profile
    limits = evaluation.limits_alone
    return {
        "schema": 1,
        "profile": profile.name,
        "title": profile.title,
        "version": origin.version,
        "content": origin.content,
        "created": origin.created.isoformat(timespec="seconds"),
        "profile_hash": profile.hash(),
        "contract_hash": profile.contract_hash(),
        "threshold": profile.threshold,
        "data": {
            "sha256": data.sha256,
            "files": [asdict(file) for file in data.files],
            "rows": data.matrix.shape[0],
            "rows_left_out": data.rows_left_out,
            "rows_without_label": data.rows_without_label,
            "issues": [{"rule": i.rule, "column": i.column, "count": i.count} for i in data.issues],
            "failures": data.failures,
            "machines": len(np.unique(data.machines)),
        },
        "training": {
            "seed": origin.seed,
            "folds": origin.folds,
            "split": profile.training.split,
            "trees": origin.trees,
            "leaf": profile.training.leaf,
            "features_per_split": profile.training.features_per_split,
            "seconds": round(origin.seconds, 1),
        },
        "cv": evaluation.summary(),
        "at_threshold": _counts(evaluation.at_threshold, profile),
        "limits_alone": None if limits is None else _counts(limits, profile),
        "silence": _counts(Counts(0, 0, data.failures, len(data.matrix)), profile),
        "calibration": calibration_bins(data.targets[:, 0] > 0.5, evaluation.probability[:, 0]),
        "importance": {"kind": "permutation, average precision lost on held-out rows", "inputs": evaluation.importance},
        "modes": _modes(data, evaluation),
        "features": _features(profile, data.matrix),
        "parity": asdict(parity),
        "packages": {"python": platform.python_version(), **{name: installed_version(name) for name in _PACKAGES}},
    }


def calibration_bins(failed: NDArray[np.bool_], probability: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Ten equal steps of probability: rows, mean of what was said, share that failed. Empty steps are left out."""
    step = np.minimum((probability * _BINS).astype(np.int64), _BINS - 1)
    bins = []
    for number in range(_BINS):
        inside = step == number
        if inside.any():
            said, seen = float(probability[inside].mean()), float(failed[inside].mean())
            bins.append({"from": number / _BINS, "rows": int(inside.sum()), "predicted": said, "observed": seen})
    return bins


def _counts(counts: Counts, profile: Profile) -> dict[str, Any]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "true_alarms": counts.true_alarms,
        "false_alarms": counts.false_alarms,
        "missed": counts.missed,
        "cost_per_1000_rows": counts.cost(profile),
    }


def _modes(data: TrainingData, evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each mode: rows that show it, how many of those were warned of, and of these how often it was named first."""
    profile = data.profile
    said = evaluation.probability[:, 0].astype(np.float32) >= np.float32(profile.threshold)
    entries = []
    for number, mode in enumerate(profile.modes, start=1):
        shown = data.targets[:, number] > 0.5
        found = shown & said
        named = found & (evaluation.probability[:, 1:].argmax(axis=1) == number - 1)
        counted = {"examples": int(shown.sum()), "found": int(found.sum()), "named": int(named.sum())}
        entries.append({"name": mode.name, "title": mode.title, **counted, "constant": not shown.any()})
    return entries


def _features(profile: Profile, matrix: NDArray[np.float32]) -> list[dict[str, Any]]:
    """For each matrix column, what training has seen of it: the ground for drift and for 'outside' marks."""
    entries = []
    for number, name in enumerate(profile.matrix_names):
        seen = matrix[:, number][~np.isnan(matrix[:, number])].astype(np.float64)
        source = profile.feature(name.split("=")[0])
        entry: dict[str, Any] = {
            "name": name,
            "title": source.title,
            "unit": source.unit,
            "kind": source.type if isinstance(source, Column) else "number",
            "missing": 1 - len(seen) / len(matrix),
        }
        if len(seen):
            quantiles = np.quantile(seen, _QUANTILES)
            entry |= {
                "minimum": float(seen.min()),
                "maximum": float(seen.max()),
                "mean": float(seen.mean()),
                "std": float(seen.std()),
                "median": float(np.median(seen)),
                "quantiles": {f"{q:g}": float(v) for q, v in zip(_QUANTILES, quantiles, strict=True)},
            }
        entries.append(entry)
    return entries


def verdict(card: Mapping[str, Any], profile: Profile) -> str:
    """In words: what the model does at its threshold, and whether it is worth having beside the limits alone."""
    model, limits = card["at_threshold"], card["limits_alone"]
    currency = profile.costs.currency
    words = f"On rows that it had not seen, it warned of {model['recall']:.1%} of the failures"
    if model["precision"] is None:
        words += " and gave no warning at all."
    else:
        words += f", and {model['precision']:.1%} of its warnings were right."
    if limits is None:
        return f"{words} The profile has no engineering limits to compare it with."
    right = (
        "they never warned" if limits["precision"] is None else f"{limits['precision']:.1%} of their warnings are right"
    )
    words += f" The engineering limits alone find {limits['recall']:.1%}; {right}."
    saved = limits["cost_per_1000_rows"] - model["cost_per_1000_rows"]
    if saved > 0:
        return f"{words} At the profile's costs the model saves {saved:,.0f} {currency} in 1,000 rows against the limits alone."
    return (
        f"{words} At the profile's costs the model does not beat the limits alone: its warnings cost {-saved:,.0f} {currency} "
        "more in 1,000 rows. What it adds is a graded probability, and failures that the limits miss where a lower threshold "
        "is worth its false alarms."
    )
