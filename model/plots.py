"""The card's three plots, as PNG bytes that depend on nothing but the figures."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from appliance.profile import Profile
from model.evaluate import Evaluation

_MODEL, _LIMITS, _QUIET = "#1f5a92", "#c2410c", "#8a8f98"
_MOST_BARS = 15
_LABEL_WIDTH = 36


def precision_recall(profile: Profile, failed: NDArray[np.bool_], evaluation: Evaluation) -> bytes:
    """Precision over recall on held-out rows, with the chosen threshold and the limits alone as points."""

    def draw(axes: Axes) -> None:
        precision, recall, _ = precision_recall_curve(failed, evaluation.probability[:, 0])
        axes.plot(recall, precision, color=_MODEL, linewidth=2, label="model, at every threshold", zorder=2)
        chosen = evaluation.at_threshold
        if chosen.precision is not None:
            label = f"model, at its threshold of {profile.threshold:.1%}"
            axes.scatter([chosen.recall], [chosen.precision], s=70, color=_MODEL, label=label, zorder=3)
        limits = evaluation.limits_alone
        if limits is not None and limits.precision is not None:
            axes.scatter(
                [limits.recall], [limits.precision], s=80, marker="D", color=_LIMITS, label="limits alone", zorder=4
            )
        axes.axhline(float(failed.mean()), color=_QUIET, linestyle=":", linewidth=1, label="warning at random")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="share of failures that is found (recall)")
        axes.set_ylabel("share of warnings that is right (precision)")
        axes.set_title("Failures found against warnings that are right")
        axes.legend(loc="lower left", frameon=False)

    return _png(draw)


def calibration(bins: Sequence[Mapping[str, Any]]) -> bytes:
    """What share of rows failed where the model said so much; bins as :func:`model.card.calibration_bins` gives them."""

    def draw(axes: Axes) -> None:
        said = np.asarray([entry["predicted"] for entry in bins])
        seen = np.asarray([entry["observed"] for entry in bins])
        rows = np.asarray([entry["rows"] for entry in bins])
        low, high = _wilson(seen, rows)
        axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=":", linewidth=1, label="what is said happens")
        errors = np.vstack([seen - low, high - seen]).clip(min=0)
        axes.errorbar(said, seen, errors, fmt="o", color=_MODEL, capsize=3, label="held-out rows, with 95% interval")
        for x, y, n in zip(said, high, rows, strict=True):
            axes.annotate(
                f"{n:,}", (x, min(y, 1.0)), (0, 4), textcoords="offset points", ha="center", color=_QUIET, fontsize=8
            )
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.1), xlabel="probability that the model said")
        axes.set_ylabel("share of these rows that failed")
        axes.set_title("Said against seen (small figures: rows)")
        axes.legend(loc="upper left", frameon=False)

    return _png(draw)


def importance(profile: Profile, losses: Mapping[str, float]) -> bytes:
    """Permutation importance: what is lost where an input's values are shuffled among held-out rows."""

    def draw(axes: Axes) -> None:
        ranked = sorted(losses.items(), key=lambda item: (-item[1], item[0]))[:_MOST_BARS][::-1]
        names = [textwrap.fill(profile.feature(name).title, _LABEL_WIDTH) for name, _ in ranked]
        axes.barh(names, [loss for _, loss in ranked], color=_MODEL)
        axes.axvline(0, color=_QUIET, linewidth=1)
        axes.set_xlabel("average precision lost (held-out rows, input shuffled)")
        axes.set_title("What the model looks at (permutation importance)")

    return _png(draw)


def _png(draw: Callable[[Axes], None]) -> bytes:
    with mpl.rc_context():
        mpl.rcdefaults()  # a style of the user's would change the bytes
        mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(6.8, 4.4), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.title.set_fontsize(11)
        out = io.BytesIO()
        canvas.print_figure(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _wilson(share: NDArray[np.float64], rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95% interval of a share seen in so many rows (E. B. Wilson, 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return middle - half, middle + half
