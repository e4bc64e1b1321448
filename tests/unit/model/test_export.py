"""Nothing is published unless ONNX Runtime gives what scikit-learn gives; a wrong conversion is caught."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from appliance import features, onnx_gate
from appliance import profile as profiles
from appliance.errors import TrainingFailed
from appliance.profile import Profile
from appliance.scorer import Scorer
from model import export, forest
from tests import small_models
from tests.profiles import changed, load, text

NAMES = ["milling", "pump"]


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_agree_to_the_last_bit_on_every_kind_of_row(name: str) -> None:
    data, model, model_bytes = small_models.small_forest(name, trees=60)
    probes = export.probes(model, data.profile, data.featured, data.matrix, seed=0)
    wanted = {"splits", "extremes", "unseen", *(["missing"] if name == "pump" else [])}
    assert set(probes) == wanted
    parity = export.demand_parity(model, model_bytes, data.profile, [data.matrix, *probes.values()])
    assert parity.rows == len(data.matrix) + sum(map(len, probes.values()))
    assert (parity.max_abs_diff, parity.verdict_differences) == (0.0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_what_it_is(name: str) -> None:
    data, _, model_bytes = small_models.small_forest(name)
    onnx_gate.inspect(model_bytes, data.profile)
    model = onnx.load_model_from_string(model_bytes)
    assert [o.domain for o in model.opset_import] == ["", "ai.onnx.ml"]
    operators = [node.op_type for node in model.graph.node]
    assert operators == (["TreeEnsembleRegressor"] if name == "milling" else ["Imputer", "TreeEnsembleRegressor"])


def test_the_same_forest_gives_the_same_bytes() -> None:
    data, model, model_bytes = small_models.small_forest("pump")
    assert export.convert(model, data.profile) == model_bytes


def _bare() -> Profile:
    return profiles.parse(text("milling").split("[[modes]]")[0] + "[costs]\nmissed_failure = 1800\nfalse_alarm = 600\n")


@pytest.mark.parametrize("profile", [_bare(), load("pump")], ids=["no modes", "one mode"])
def test_few_outputs_keep_their_shape(profile: Profile) -> None:
    data = small_models.training_data(profile)
    model = forest.fit(profile, data.matrix, data.targets, seed=0, trees=4)
    scores = Scorer(export.convert(model, profile), profile).score(data.matrix)
    assert scores.modes.shape == (len(data.matrix), len(profile.modes))
    assert (scores.probability == model.predict(data.matrix)[:, 0]).all()


def test_a_mode_without_an_example_is_always_zero() -> None:
    profile = load("milling")
    frame = small_models.rows(profile).drop("osf")
    data = small_models.training_data(profile, frame.with_columns(osf=False))
    model = forest.fit(profile, data.matrix, data.targets, seed=0, trees=8)
    scores = Scorer(export.convert(model, profile), profile).score(data.matrix)
    assert (scores.modes[:, 3] == 0).all()
    assert scores.modes[:, 1].max() > 0.5


def test_split_probes_lie_on_both_sides_of_splits_that_their_row_passes() -> None:
    data, model, _ = small_models.small_forest("milling")
    probes = export.probes(model, data.profile, data.featured, data.matrix, seed=0)["splits"]
    left, right = np.split(probes, 2)
    moved = left != right
    assert (moved.sum(axis=1) == 1).all()
    here, there = left[moved], right[moved]
    assert (np.nextafter(here, np.float32(np.inf)) == there).all()
    splits = sum(int((tree.tree_.feature >= 0).sum()) for tree in model.trees)
    assert splits / 2 < len(left) <= splits
    # Next to each other in float32, and yet many of them get another probability: the splits are where they are said.
    assert (model.predict(left) != model.predict(right)).any(axis=1).mean() > 0.9


def test_extreme_and_unseen_probes_go_through_the_feature_function() -> None:
    data, model, _ = small_models.small_forest("milling")
    found = export.probes(model, data.profile, data.featured, data.matrix, seed=0)
    place = data.profile.matrix_names.index
    assert (found["unseen"][:, place("type")] == features.UNKNOWN_CATEGORY).any()
    hot = found["extremes"][found["extremes"][:, place("torque")] == 100]
    assert np.allclose(hot[:, place("strain")], hot[:, place("tool_wear")] * 100)
    pump, model, _ = small_models.small_forest("pump")
    found = export.probes(model, pump.profile, pump.featured, pump.matrix, seed=0)
    assert (found["unseen"][:, :3] == 0).all()
    assert np.isnan(found["missing"][:, 3]).all()


def test_what_no_file_can_give_is_not_probed() -> None:
    # At the end of the range the quotient is 1 / 0.
    profile = changed("milling", "torque * speed * 2 * pi() / 60", "1 / torque")
    data = small_models.training_data(profile)
    model = forest.fit(profile, data.matrix, data.targets, seed=0, trees=4)
    probes = export.probes(model, profile, data.featured, data.matrix, seed=0)
    assert all(np.isfinite(made[:, :6]).all() and not np.isinf(made).any() for made in probes.values())
    export.demand_parity(model, export.convert(model, profile), profile, list(probes.values()))


def _attribute(model: ModelProto, name: str) -> onnx.AttributeProto:
    found: onnx.AttributeProto = next(a for n in model.graph.node for a in n.attribute if a.name == name)
    return found


def _leaf(model: ModelProto) -> None:
    """One leaf of one tree says a little else."""
    weights = _attribute(model, "target_weights").floats
    place = next(i for i, w in enumerate(weights) if w == 0)
    weights[place] = 5e-5


def _split(model: ModelProto) -> None:
    """One split is where rounding to the nearest float32 would put it: just above, not just below."""
    values = _attribute(model, "nodes_values").floats
    values[0] = float(np.nextafter(np.float32(values[0]), np.float32(np.inf)))


def _branch(model: ModelProto) -> None:
    """Splits ask for less, where they should ask for less or equal."""
    modes = _attribute(model, "nodes_modes").strings
    for number, mode in enumerate(modes):
        if mode == b"BRANCH_LEQ":
            modes[number] = b"BRANCH_LT"


def _swap(model: ModelProto) -> None:
    """Failure and the first mode change places."""
    ids = _attribute(model, "target_ids").ints
    for number, target in enumerate(ids):
        ids[number] = {0: 1, 1: 0}.get(target, target)


def _imputer(model: ModelProto) -> None:
    """Another value stands in for what is missing."""
    _attribute(model, "imputed_value_floats").floats[3] += 40


def _no_imputer(model: ModelProto) -> None:
    """Missing values reach the trees themselves."""
    model.graph.node[1].input[0] = model.graph.input[0].name
    del model.graph.node[0]


WRONG: list[tuple[str, Callable[[ModelProto], None]]] = [
    *((name, change) for name in NAMES for change in (_leaf, _split, _branch, _swap)),
    ("pump", _imputer),
    ("pump", _no_imputer),
]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_conversion_is_caught(name: str, change: Callable[[ModelProto], None]) -> None:
    data, model, model_bytes = small_models.small_forest(name)
    wrong = onnx.load_model_from_string(model_bytes)
    change(wrong)
    probes = export.probes(model, data.profile, data.featured, data.matrix, seed=0)
    matrices = [data.matrix, *probes.values()]
    with pytest.raises(TrainingFailed) as caught:
        export.demand_parity(model, wrong.SerializeToString(deterministic=True), data.profile, matrices)
    assert caught.value.code == "training.parity"
    assert "\n" not in str(caught.value)
    export.demand_parity(model, model_bytes, data.profile, matrices)


def test_a_conversion_that_is_not_even_sound_is_a_failed_training() -> None:
    data, model, _ = small_models.small_forest("milling")
    with pytest.raises(TrainingFailed):
        export.demand_parity(model, b"no model", data.profile, [data.matrix])


def test_one_other_verdict_is_one_too_many() -> None:
    """Within the tolerance, but on the other side of the threshold."""
    data, model, model_bytes = small_models.small_forest("milling")
    probability = model.predict(data.matrix)[:, 0]
    some = float(np.sort(probability[(probability > 0.1) & (probability < 0.9)])[5])
    profile = small_models.with_threshold(data.profile, some)
    export.demand_parity(model, model_bytes, profile, [data.matrix])
    less = onnx.load_model_from_string(model_bytes)
    weights = _attribute(less, "target_weights").floats
    for number, weight in enumerate(weights):
        weights[number] = weight * (1 - 1e-6)
    with pytest.raises(TrainingFailed) as caught:
        export.demand_parity(model, less.SerializeToString(deterministic=True), profile, [data.matrix])
    assert "verdicts" in caught.value.message
    scorer = Scorer(less.SerializeToString(deterministic=True), profile)
    assert export.compare(model, scorer, profile, data.matrix).max_abs_diff < 1e-5
