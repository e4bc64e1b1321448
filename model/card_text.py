"""The card as a page that a maintenance engineer can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from appliance.profile import Profile
from model.card import verdict

_FIGURES = {
    "roc_auc": ("ROC AUC", "how well rows are ranked; 0.5 is chance, 1 perfect"),
    "average_precision": ("Average precision", "the area under the curve below; the share of failures is chance"),
    "f1_at_50": ("F1 at 50%", "balance of found failures and right warnings when 50% is the threshold"),
    "recall_at_p90": ("Recall at precision 90%", "failures found when nine of ten warnings have to be right"),
    "brier": ("Brier score", "mean squared error of the probability; 0 is perfect"),
}
_FEW_EXAMPLES = 30


def text(card: Mapping[str, Any], profile: Profile) -> str:
    """Markdown with the three plots that lie beside it."""
    return "\n".join(_lines(card, profile)) + "\n"


def _lines(card: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    yield f"# {profile.title}: model {card['version']}"
    yield ""
    yield from _purpose(card, profile)
    yield from _quality(card, profile)
    yield from _inputs(card, profile)
    yield from _modes(card)
    yield from _data(card)
    yield from _trust(card)
    yield from _proof(card)


def _purpose(card: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    horizon = profile.words.horizon_hours
    yield "## What it predicts"
    yield ""
    if profile.description:
        yield profile.description
        yield ""
    yield (
        "For each row it gives the probability of failure"
        + (f" within the next {horizon:g} hours" if horizon else "")
        + (", and of each failure mode." if profile.modes else ".")
        + f" From {card['threshold']:.1%} on it says “{profile.words.failing}”, below “{profile.words.passing}”."
        + f" The threshold follows from the profile's costs: a missed failure {profile.costs.missed_failure:,.0f} "
        + f"{profile.costs.currency}, a false alarm {profile.costs.false_alarm:,.0f} {profile.costs.currency}."
    )
    yield ""


def _quality(card: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    yield "## How good it is"
    yield ""
    yield verdict(card, profile)
    yield ""
    yield f"| in 1,000 rows | failures found | warnings right | failures missed | false alarms | cost, {profile.costs.currency} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    rows = card["data"]["rows"]
    for name, key in (("no warnings at all", "silence"), ("limits alone", "limits_alone"), ("model", "at_threshold")):
        counts = card[key]
        if counts is not None:
            missed, false = (1000 * counts[k] / rows for k in ("missed", "false_alarms"))
            right = "–" if counts["precision"] is None else f"{counts['precision']:.1%}"
            cost = f"{counts['cost_per_1000_rows']:,.0f}"
            yield f"| {name} | {counts['recall']:.1%} | {right} | {missed:.1f} | {false:.1f} | {cost} |"
    yield ""
    if profile.words.horizon_hours:
        yield "Each row counts by itself: a failure that announces itself in many rows is counted, and costs, as often."
        yield ""
    how = "each machine's rows stay together" if card["training"]["split"] == "group" else "rows dealt out at random"
    yield f"Judged in {card['training']['folds']} folds ({how}), each by a model that never saw its rows:"
    yield ""
    yield "| figure | mean | spread | meaning |"
    yield "| --- | ---: | ---: | --- |"
    for key, (title, meaning) in _FIGURES.items():
        figure = card["cv"][key]
        yield f"| {title} | {figure['mean']:.4f} | ± {figure['std']:.4f} | {meaning} |"
    yield ""
    yield "![Precision over recall](precision_recall.png)"
    yield ""
    yield "![Calibration](calibration.png)"
    yield ""


def _inputs(card: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    yield "## What it looks at"
    yield ""
    yield "How much average precision is lost on held-out rows when an input is shuffled (permutation importance). Inputs that"
    yield "say the same in other words, such as a product and its factors, share what is lost between them."
    yield ""
    yield "![Importance](importance.png)"
    yield ""
    for name, loss in sorted(card["importance"]["inputs"].items(), key=lambda item: (-item[1], item[0])):
        yield f"- {profile.feature(name).title}: {round(loss, 3) + 0.0:.3f}"
    yield ""


def _modes(card: Mapping[str, Any]) -> Iterator[str]:
    if not card["modes"]:
        return
    yield "## Failure modes"
    yield ""
    yield "| mode | examples | warned of | of these named first |"
    yield "| --- | ---: | ---: | ---: |"
    for mode in card["modes"]:
        # Among one mode, the first says nothing.
        named = f"{mode['named']:,}" if len(card["modes"]) > 1 and not mode["constant"] else "–"
        yield f"| {mode['title']} | {mode['examples']:,} | {mode['found']:,} | {named} |"
    yield ""


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    data = card["data"]
    yield "## What it was trained on"
    yield ""
    share = data["failures"] / data["rows"]
    yield (
        f"{data['rows']:,} rows of {_several(data['machines'], 'machine')}, {data['failures']:,} of them failures ({share:.2%}). "
        f"{data['rows_left_out']:,} rows broke the contract and were left out; {data['rows_without_label']:,} had no label."
    )
    yield ""
    for issue in data["issues"]:
        yield f"- {issue['rule']}{' in ' + issue['column'] if issue['column'] else ''}: {issue['count']:,}"
    if data["issues"]:
        yield ""
    for file in data["files"]:
        yield f"- {file['name']}: {file['rows']:,} rows, SHA-256 {file['sha256']}"
    yield ""
    yield "| feature | unit | least | median | most | missing |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for feature in card["features"]:
        figures = [f"{feature[k]:,.6g}" if k in feature else "–" for k in ("minimum", "median", "maximum")]
        title = feature["title"] + (f" = {feature['name'].split('=')[1]}" if "=" in feature["name"] else "")
        yield f"| {title} | {feature['unit']} | {' | '.join(figures)} | {feature['missing']:.1%} |"
    yield ""


def _trust(card: Mapping[str, Any]) -> Iterator[str]:
    yield "## Where not to trust it"
    yield ""
    yield "- Outside the ranges above it has seen nothing; it answers as it would at the edge."
    yield "- It knows failures of the kinds that are in its data, and no others."
    for mode in card["modes"]:
        if mode["constant"]:
            yield f"- {mode['title']}: the data holds no example, so its probability is always 0."
        elif mode["examples"] < _FEW_EXAMPLES:
            yield f"- {mode['title']}: {_several(mode['examples'], 'example')} only; its figures say little."
    if card["training"]["split"] == "stratified":
        yield "- The folds mix rows of one machine: on a machine that it never saw it may do worse."
    yield ""


def _proof(card: Mapping[str, Any]) -> Iterator[str]:
    training, parity = card["training"], card["parity"]
    yield "## Proof and origin"
    yield ""
    apart = (
        f"differ by at most {parity['max_abs_diff']:.1e}" if parity["max_abs_diff"] else "give the same to the last bit"
    )
    yield (
        f"- scikit-learn and ONNX Runtime were compared on {parity['rows']:,} rows (held-out rows, both sides of splits, ends of "
        f"ranges and beyond, unseen categories, missing values where allowed): they {apart}, and in every verdict."
    )
    yield (
        f"- {_several(training['trees'], 'tree')}, at least {training['leaf']} rows a leaf, {training['features_per_split']:g} of "
        f"the features at each split, seed {training['seed']}; trained {card['created']} in {training['seconds']:g} s."
    )
    yield f"- Content {card['content']}; data {card['data']['sha256']}; profile {card['profile_hash']}."
    yield "- " + ", ".join(f"{name} {number}" for name, number in card["packages"].items()) + "."


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
