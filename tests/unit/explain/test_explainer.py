"""The whole answer about a row of either profile."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from appliance import features
from appliance.errors import BundleRefused, RequestError
from appliance.explain import row as rows
from appliance.explain.explainer import Explainer
from appliance.explain.likeness import Case
from appliance.profile import MACHINE
from appliance.serving import Served
from tests import small_models
from tests.profiles import NAMES, changed, text
from tests.unit.explain.forests import Model, Tree
from tests.unit.explain.made import served, vector

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def explained(model: Served, number: int, **more: Any) -> dict[str, Any]:
    matrix = features.matrix(model.profile, small_models.rows(model.profile, 200, seed=9))
    return model.explainer().explain(rows.of_features(model.profile, vector(matrix[number]), NOW), **more)


@pytest.mark.parametrize("name", NAMES)
def test_contributions_and_base_add_up_and_each_input_stands_once(name: str) -> None:
    model = served(name)
    matrix = features.matrix(model.profile, small_models.rows(model.profile, 200, seed=9))
    scores = model.scorer.score(matrix)
    for number in range(0, 200, 10):
        said = explained(model, number)
        total = said["base"] + sum(part["contribution"] for part in said["contributions"])
        assert total == pytest.approx(float(scores.probability[number]), abs=1e-6)
        assert sorted(part["name"] for part in said["contributions"]) == sorted(model.profile.model.inputs)
        assert said["failing"] == scores.failing[number]
        assert [mode["name"] for mode in said["modes"]] == [
            model.profile.modes[at].name for at in np.argsort(-scores.modes[number], kind="stable")
        ]
        assert ("reason" in said) == said["failing"]
    assert 0 < said["base"] < 1
    assert said["reference_rows"] == 800


def test_the_columns_of_a_category_count_together() -> None:
    model = served("pump")
    matrix = features.matrix(model.profile, small_models.rows(model.profile, 200, seed=9))
    found = explained(model, 4)
    fluid = next(part for part in found["contributions"] if part["name"] == "fluid")
    _, parts = model.explainer()._parts(matrix[4], found["probability"])
    assert fluid["contribution"] == pytest.approx(parts[:3].sum())
    assert fluid["value"] in ("water", "glycol", "emulsion")
    assert "seen" not in fluid


def test_a_missing_reading_is_told_and_counts() -> None:
    model = served("pump")
    frame = small_models.rows(model.profile, 200, seed=9)
    number = int(np.flatnonzero(frame["temperature"].is_null().to_numpy())[0])
    part = next(part for part in explained(model, number)["contributions"] if part["name"] == "temperature")
    assert (part["value"], part["text"], part["outside"]) == (None, "not known", False)


def test_past_cases_are_told_with_what_became_of_them() -> None:
    model = served("milling")
    matrix = features.matrix(model.profile, small_models.rows(model.profile, 200, seed=9))
    names = model.profile.matrix_names
    became = ["failure", "failure", "false_alarm", "calm", "planned_work", "missed_failure", "failure"]
    cases = [
        Case(dict(zip(names, vector(matrix[n]), strict=True)), {"became": word, "machine": f"mill-{n}"})
        for n, word in enumerate(became)
    ]
    said = explained(model, 1, cases=cases)["cases"]
    assert len(said["nearest"]) == 5
    assert (said["nearest"][0]["machine"], said["nearest"][0]["distance"]) == ("mill-1", pytest.approx(0, abs=1e-3))
    distances = [case["distance"] for case in said["nearest"]]
    assert distances == sorted(distances)
    assert said["text"].startswith("Of the 5 nearest past cases ")
    far = explained(model, 1, cases=[Case(dict.fromkeys(names, 1e4), {"became": "failure"})])["cases"]
    assert far["text"] == "Of the 1 nearest past cases 1 failed. None of them is near."
    assert explained(model, 1)["cases"]["nearest"] == []


def test_what_a_person_cannot_set_is_never_advised() -> None:
    measured = text("milling").replace("settable = [0]  # by a new tool", "settable = false")
    for unit in ("rpm", "N.m"):
        measured = measured.replace(
            f'unit = "{unit}"\ntype = "number"', f'unit = "{unit}"\ntype = "number"\nsettable = false'
        )
    model = served("milling", measured)
    found = [said for number in range(60) if (said := explained(model, number))["failing"]]
    assert found
    assert all(said["smallest"] is None for said in found)
    assert any(said["changes"] for said in found)
    assert {said["advice"] for said in found} == {
        "A person can set none of its readings; what it would take is listed all the same."
    }


def test_advice_is_the_smallest_change_that_a_person_can_make() -> None:
    model = served("milling")
    for number in range(80):
        said = explained(model, number)
        can = [change for change in said["changes"] if change["settable"]]
        assert said["smallest"] == (can[0] if can else None)
        unsafe = said["failing"] or said["compared"]["limits"]
        assert (said["advice"] == "It is safe as it is.") == (not unsafe)
        if unsafe and not can:
            assert said["advice"] == "No single reading that a person can set makes it safe."


def test_a_curve_is_drawn_over_readings_only() -> None:
    model = served("milling")
    assert explained(model, 3, curve="torque")["curve"]["name"] == "torque"
    for name in ("power", "udi", "product_id", "machine_failure", "nothing"):
        with pytest.raises(RequestError) as refused:
            explained(model, 3, curve=name)
        assert "torque" in refused.value.way_out


def test_leaves_that_add_up_to_a_hair_more_than_one_are_cut_in_their_shares() -> None:
    hair = 1 + 2.0**-16
    high, low = Tree(weights=(hair, 0.0)), Tree(weights=(0.0, 0.0))
    # vibration above 5 fails; the rest of the features are asked for nothing
    model = served("pump", None, Model([Tree(4, 5.0, children=(low, high))], 8, fill=[0.0] * 8).onnx())
    for number in range(40):
        said = explained(model, number)
        parts = sum(part["contribution"] for part in said["contributions"])
        assert said["probability"] in (0, 1)
        assert said["base"] + parts == pytest.approx(said["probability"], abs=1e-9)
    always = served("pump", None, Model([Tree(weights=(hair, 0.0))], 8, fill=[0.0] * 8).onnx())
    said = explained(always, 0)
    assert (said["base"], said["probability"]) == (1.0, 1.0)


def test_a_model_that_is_no_forest_is_refused_in_a_sentence() -> None:
    model = served("pump")
    odd = Model([Tree(weights=(0.5, 0.0))], 8).onnx().replace(b"TreeEnsembleRegressor", b"TreeEnsembleRegresxor")
    bundle = model.bundle.__class__(
        **{f: getattr(model.bundle, f) for f in model.bundle.__slots__} | {"model_bytes": odd}
    )
    with pytest.raises(BundleRefused) as refused:
        Explainer(bundle, model.scorer, model.seen)
    assert refused.value.message == "The model is no forest, and cannot be explained."


def test_many_threads_make_one_explainer() -> None:
    model = Served(served("milling").bundle, served("milling").scorer)
    found: list[Explainer] = []
    threads = [threading.Thread(target=lambda: found.append(model.explainer())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_a_profile_says_what_can_be_set_without_changing_what_rows_are_good() -> None:
    bare = changed("milling", "settable = [0]  # by a new tool\n", "")
    mill = changed("milling", "# The milling machine", "# A mill")
    assert bare.contract_hash() == mill.contract_hash()
    assert bare.hash() != mill.hash()
    assert mill.column("tool_wear").settable == [0]
    assert bare.column("tool_wear").settable is None


@pytest.mark.parametrize("wrong", ["[]", "[301]", "[-1, 0]", '"yes"', "[true]", "1"])
def test_what_can_be_set_lies_within_the_range(wrong: str) -> None:
    from appliance.errors import ProfileError

    with pytest.raises(ProfileError, match="settable"):
        changed("milling", "settable = [0]  # by a new tool", f"settable = {wrong}")


def test_a_machine_column_stays_out_of_the_features() -> None:
    assert MACHINE not in served("pump").profile.matrix_names
