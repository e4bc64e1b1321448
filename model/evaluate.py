"""How good a model is on rows that it has not seen, beside what the profile's engineering limits say alone.

Every figure comes from held-out rows. Each fold's forest is converted as the published one is, and must agree with its
ONNX form on every row that it is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from appliance import features
from appliance.errors import TrainingFailed
from appliance.profile import Column, Profile
from appliance.scorer import Scorer
from model import export, forest
from model.data import TrainingData
from model.export import Parity

PRECISION_WANTED = 0.9
_IMPORTANCE_REPEATS = 3
_IMPORTANCE_ROWS = 20_000

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Counts:
    """Verdicts against what happened."""

    true_alarms: int
    false_alarms: int
    missed: int
    rows: int

    @property
    def precision(self) -> float | None:
        """None where nothing was flagged."""
        flagged = self.true_alarms + self.false_alarms
        return self.true_alarms / flagged if flagged else None

    @property
    def recall(self) -> float:
        return self.true_alarms / (self.true_alarms + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.true_alarms / (2 * self.true_alarms + self.false_alarms + self.missed)

    def cost(self, profile: Profile) -> float:
        """Cost of missed failures and false alarms for 1,000 rows, in the profile's currency."""
        total = self.missed * profile.costs.missed_failure + self.false_alarms * profile.costs.false_alarm
        return 1000 * total / self.rows


def count(failed: NDArray[np.bool_], said: NDArray[np.bool_]) -> Counts:
    return Counts(int((failed & said).sum()), int((~failed & said).sum()), int((failed & ~said).sum()), len(failed))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Cross-validated figures. ``probability`` (rows, 1 + modes) was given to each row by a forest that never saw it."""

    probability: NDArray[np.float64]
    folds: list[dict[str, float]]  # the figures of each fold
    at_threshold: Counts  # over all folds, at the profile's threshold
    limits_alone: Counts | None  # over all rows; None where the profile has no binding limits
    importance: dict[str, float]  # loss of average precision when an input is shuffled, by input
    parity: Parity

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean and standard deviation over the folds of each figure."""
        values = {name: [fold[name] for fold in self.folds] for name in self.folds[0]}
        return {name: {"mean": float(np.mean(v)), "std": float(np.std(v))} for name, v in values.items()}


def cross_validate(
    data: TrainingData, folds: int, seed: int, trees: int | None = None, progress: Progress = lambda _: None
) -> Evaluation:
    """Judge the profile's forest on its data; TrainingFailed where the data cannot bear that many folds."""
    profile, failed = data.profile, data.targets[:, 0] > 0.5
    probability = np.full_like(data.targets, np.nan)
    figures: list[dict[str, float]] = []
    losses: list[dict[str, float]] = []
    parity = Parity()
    for number, (train, test) in enumerate(_splits(data, folds, seed), start=1):
        progress(f"fold {number} of {folds}")
        model = forest.fit(profile, data.matrix[train], data.targets[train], seed, trees)
        model_bytes = export.convert(model, profile)
        parity += export.demand_parity(model, model_bytes, profile, [data.matrix[test]])
        probability[test] = model.predict(data.matrix[test])
        figures.append(judge(failed[test], probability[test, 0]))
        losses.append(_importance(Scorer(model_bytes, profile), profile, data.matrix[test], failed[test], seed))
    said = probability[:, 0].astype(np.float32) >= np.float32(profile.threshold)
    binding = any(not limit.advisory for limit in profile.limits)
    return Evaluation(
        probability=probability,
        folds=figures,
        at_threshold=count(failed, said),
        limits_alone=count(failed, features.limits_say(profile, data.featured)) if binding else None,
        importance={name: float(np.mean([loss[name] for loss in losses])) for name in profile.model.inputs},
        parity=parity,
    )


def judge(failed: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, float]:
    """The figures of one fold; both outcomes must be in it."""
    return {
        "roc_auc": float(roc_auc_score(failed, probability)),
        "average_precision": float(average_precision_score(failed, probability)),
        "brier": float(brier_score_loss(failed, probability)),
        "f1_at_50": count(failed, probability >= 0.5).f1,
        "recall_at_p90": recall_at_precision(failed, probability, PRECISION_WANTED),
    }


def recall_at_precision(failed: NDArray[np.bool_], probability: NDArray[np.float64], wanted: float) -> float:
    """The largest share of failures that is found while at least ``wanted`` of the warnings are right."""
    precision, recall, _ = precision_recall_curve(failed, probability)
    return float(recall[precision >= wanted].max(initial=0.0))


def _splits(data: TrainingData, folds: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    failed = data.targets[:, 0] > 0.5
    failures = int(failed.sum())
    _enough(failures, folds, "failure")
    _enough(len(failed) - failures, folds, "row without a failure")
    if data.profile.training.split == "stratified":
        yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(data.matrix, failed)
        return
    machines = len(np.unique(data.machines))
    _enough(machines, folds, "machine")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    splits = list(splitter.split(data.matrix, failed, data.machines))
    for number, (train, test) in enumerate(splits, start=1):
        if len({*failed[train].tolist()}) < 2 or len({*failed[test].tolist()}) < 2:
            raise TrainingFailed(
                "folds",
                f"Fold {number} of {folds} would be trained or judged without a failure: too few machines ever failed.",
                f"Use fewer --folds than {folds}, or data of more machines that failed.",
            )
    yield from splits


def _enough(found: int, folds: int, what: str) -> None:
    if found < folds:
        counted = f"{found} {what}{'' if found == 1 else 's'}" if found else f"no {what}"
        raise TrainingFailed(
            "folds",
            f"The data holds {counted}, and each of {folds} folds needs one.",
            "Give data with more of them" + (f", or use --folds {found}." if found > 1 else "."),
        )


def _importance(
    scorer: Scorer, profile: Profile, matrix: NDArray[np.float32], failed: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """Loss of average precision on held-out rows when an input's values are dealt out anew among the rows."""
    draw = np.random.default_rng(seed)
    if len(matrix) > _IMPORTANCE_ROWS:
        kept = np.sort(draw.permutation(len(matrix))[:_IMPORTANCE_ROWS])
        matrix, failed = matrix[kept], failed[kept]
    if not failed.any():
        return dict.fromkeys(profile.model.inputs, 0.0)
    whole = float(average_precision_score(failed, scorer.score(matrix).probability))
    losses = {}
    for name, columns in inputs_to_columns(profile).items():
        scores = []
        for _ in range(_IMPORTANCE_REPEATS):
            shuffled = matrix.copy()
            shuffled[:, columns] = matrix[draw.permutation(len(matrix))][:, columns]
            scores.append(float(average_precision_score(failed, scorer.score(shuffled).probability)))
        losses[name] = whole - float(np.mean(scores))
    return losses


def inputs_to_columns(profile: Profile) -> Mapping[str, list[int]]:
    """The matrix columns of each model input: several for a category that is not ordered."""
    found: dict[str, list[int]] = {}
    position = 0
    for name in profile.model.inputs:
        source = profile.feature(name)
        wide = isinstance(source, Column) and source.type == "category" and not source.ordered
        width = len(source.categories) if wide and isinstance(source, Column) else 1
        found[name] = list(range(position, position + width))
        position += width
    return found
