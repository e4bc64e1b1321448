"""One row of one model, explained: all parts put together, in plant units and words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from appliance import reasons
from appliance.errors import BundleRefused, RequestError
from appliance.explain import forest, limits
from appliance.explain.change import Change, Changes, Seen
from appliance.explain.likeness import Case, Space
from appliance.explain.row import Row, plain, vector_of
from appliance.explain.shapley import Shapley
from appliance.profile import Column, Feature

if TYPE_CHECKING:
    from appliance.bundle import Bundle
    from appliance.scorer import Scorer, Scores

NEAREST = 5
_DIGITS = 7  # of a float32
_FAR = 1.0  # standard deviations in every feature: no likeness any more
_BECAME = {
    "failure": "failed",
    "missed_failure": "failed without a warning",
    "false_alarm": "turned out to be a false alarm",
    "planned_work": "ended in planned work",
    "calm": "calmed down again",
}


class Explainer:
    """What explains rows of one bundle: a second of work to make, some 20 MB to keep, shared by threads."""

    def __init__(self, bundle: Bundle, scorer: Scorer, seen: Seen) -> None:
        """BundleRefused("explain") where the model is no forest, or its reference sample is not of its shape."""
        profile = self._profile = bundle.profile
        self._version = bundle.version
        self._scorer = scorer
        self._seen = seen
        names = profile.matrix_names
        reference = bundle.reference()
        if not reference.height or not set(names) <= set(reference.columns):
            raise BundleRefused(
                "explain", "The model's reference sample does not hold its features.", "Train it again."
            )
        background = np.ascontiguousarray(reference.select(names).to_numpy(), dtype=np.float32)
        spread = np.array([column.get("std") or 1.0 for column in bundle.card["features"]], dtype=np.float64)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._shapley = Shapley(forest.read(bundle.model_bytes, len(names)), background)
        self._space = Space(names, background, self._spread)

    def explain(self, row: Row, cases: Sequence[Case] = (), curve: str | None = None) -> dict[str, Any]:
        """The whole answer about a row of this model's profile; RequestError for a curve over what is no reading."""
        profile = self._profile
        column = None if curve is None else self._reading(curve)
        featured = row.featured(row.readings)
        values, vector = featured.row(0, named=True), vector_of(profile, featured)
        scores = self._scorer.score(vector[None, :])
        probability, failing = float(scores.probability[0]), bool(scores.failing[0])
        base, parts = self._parts(vector, probability)
        changes = Changes(row, vector, self._scorer, self._seen, self._spread)
        compared = limits.compared(profile, failing, values)
        unsafe = failing or bool(compared["limits"])
        said: dict[str, Any] = {
            "profile": profile.name,
            "model_version": self._version,
            "probability": round(probability, _DIGITS),
            "threshold": profile.threshold,
            "failing": failing,
            "verdict": profile.words.failing if failing else profile.words.passing,
            "base": base,
            "reference_rows": self._shapley.rows,
            "contributions": self._contributions(vector, parts, values),
            "modes": self._modes(scores),
            "limits": limits.limits(profile, values),
            "compared": compared,
            **self._advice(unsafe, changes.nearest() if unsafe else []),
            "held": [{"name": name, "title": profile.feature(name).title} for name in row.held],
            "outside": self._outside(vector),
            "cases": self._likened(vector, cases),
        }
        if failing:
            why = reasons.reason(profile, values, scores.modes[0].tolist())
            said["reason"] = {"mode": why.mode, "title": why.title, "text": why.text, "action": why.action}
        if column is not None:
            said["curve"] = self._curve(changes, column)
        return said

    def _parts(self, vector: NDArray[np.float32], probability: float) -> tuple[float, NDArray[np.float64]]:
        """Base value and contributions, which add up to the probability.

        Rounded leaves of a forest can add up to a hair more than 1, which the probability is cut to: that hair is
        taken off the contributions, each its share.
        """
        base, parts = min(self._shapley.base, 1.0), self._shapley.contributions(vector)
        surplus, whole = probability - base - parts.sum(), np.abs(parts).sum()
        return (base, parts + surplus * np.abs(parts) / whole) if whole else (base + surplus, parts)

    def _contributions(
        self, vector: NDArray[np.float32], parts: NDArray[np.float64], values: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """One entry an input, the greatest first; the columns of an unordered category count together."""
        found: dict[str, dict[str, Any]] = {}
        low, high = self._seen
        for number, name in enumerate(self._profile.matrix_names):
            source = name.partition("=")[0]
            entry = found.setdefault(source, {**self._words(source, values.get(source)), "contribution": 0.0})
            entry["contribution"] += float(parts[number])
            if source == name and np.isfinite([low[number], high[number]]).all():
                entry["seen"] = [plain(low[number]), plain(high[number])]
                entry["outside"] = bool(vector[number] < low[number] or vector[number] > high[number])
        return sorted(found.values(), key=lambda entry: -abs(entry["contribution"]))

    def _words(self, name: str, value: Any) -> dict[str, Any]:
        source = self._profile.feature(name)
        return {
            "name": name,
            "title": source.title,
            "unit": source.unit,
            "derived": isinstance(source, Feature),
            "value": None if isinstance(value, float) and math.isnan(value) else value,
            "text": self._text(name, value),
        }

    def _text(self, name: str, value: Any) -> str:
        source = self._profile.feature(name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "not known"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(source, Column) and source.type == "category":
            return reasons.category_title(source, value)
        return reasons.amount(self._profile, name, value)

    def _modes(self, scores: Scores) -> list[dict[str, Any]]:
        pairs = zip(self._profile.modes, scores.modes[0].tolist(), strict=True)
        said = [
            {"name": mode.name, "title": mode.title, "probability": round(share, _DIGITS), "action": mode.action}
            for mode, share in pairs
        ]
        return sorted(said, key=lambda mode: -mode["probability"])

    def _advice(self, unsafe: bool, changes: Sequence[Change]) -> dict[str, Any]:
        smallest = next((change for change in changes if change.settable), None)
        if not unsafe:
            text = "It is safe as it is."
        elif smallest is not None:
            text = f"{self._change(smallest)['text']} would make it safe."
        elif any(column.settable is not False for column in self._profile.with_role("reading") if column.numeric):
            text = "No single reading that a person can set makes it safe."
        else:
            text = "A person can set none of its readings; what it would take is listed all the same."
        return {
            "changes": [self._change(change) for change in changes],
            "smallest": self._change(smallest) if smallest else None,
            "advice": text,
        }

    def _change(self, change: Change) -> dict[str, Any]:
        name, title = change.column.name, change.column.title
        before, after = self._text(name, change.before), self._text(name, change.after)
        return {
            "name": name,
            "title": title,
            "unit": change.column.unit,
            "from": change.before,
            "to": change.after,
            "text": f"{title} from {before} to {after}",
            "probability": round(change.probability, _DIGITS),
            "settable": change.settable,
            "size": round(change.size, 4),
        }

    def _outside(self, vector: NDArray[np.float32]) -> dict[str, Any]:
        """Values beyond those of training, and whether they come together as no row of training has them."""
        low, high = self._seen
        names = [n for n, v, a, b in zip(self._profile.matrix_names, vector, low, high, strict=True) if v < a or v > b]
        distance, usual = self._space.from_training(vector), self._space.usual
        together = distance > usual
        titles = [self._profile.feature(name.partition("=")[0]).title for name in dict.fromkeys(names)]
        text = "The model has seen rows like this one."
        if names:
            text = f"Beyond what the model has seen: {', '.join(titles)}. Its answer is a guess there."
        elif together:
            text = "Each value is usual, but the model has seen no row in which they come together like this."
        return {
            "outside": bool(names) or together,
            "names": names,
            "together": together,
            "distance": round(distance, 4),
            "usual": round(usual, 4) if math.isfinite(usual) else None,
            "text": text,
        }

    def _likened(self, vector: NDArray[np.float32], cases: Sequence[Case]) -> dict[str, Any]:
        nearest = self._space.nearest(vector, cases, NEAREST)
        counts = Counter(case.told["became"] for _, case in nearest)
        text = "Nobody has told yet what became of a row like this one."
        if nearest:
            said = ", ".join(f"{number} {_BECAME[became]}" for became, number in counts.most_common())
            text = f"Of the {len(nearest)} nearest past cases {said}."
            if nearest[0][0] > _FAR:
                text += " None of them is near."
        return {"nearest": [{**case.told, "distance": round(far, 4)} for far, case in nearest], "text": text}

    def _curve(self, changes: Changes, column: Column) -> dict[str, Any]:
        values, tried = changes.curve(column)
        return {
            "name": column.name,
            "title": column.title,
            "unit": column.unit,
            "values": values,
            "probabilities": np.round(tried.probability.astype(np.float64), _DIGITS).tolist(),
            "failing": tried.failing.tolist(),
            "limit_broken": tried.broken.tolist(),
            "outside": (~tried.known).tolist(),
        }

    def _reading(self, name: str) -> Column:
        readings = [c for c in self._profile.with_role("reading") if c.numeric or c.type in ("category", "boolean")]
        for column in readings:
            if column.name == name:
                return column
        listed = ", ".join(column.name for column in readings)
        raise RequestError(f"There is no reading {name[:100]!r} to draw a curve over.", f"There are {listed}.")
