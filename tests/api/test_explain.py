"""Explanations over HTTP: of stored predictions and of rows that are tried out, by the model that is meant."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from appliance import bundle, signing
from appliance.api import schema
from appliance.client import Client
from appliance.errors import NotFound, RowsRefused
from appliance.settings import Settings
from tests import profiles
from tests.api.conftest import People, Shelf
from tests.api.test_problems import assert_problem

MILL = profiles.load("milling")
GOOD: dict[str, Any] = schema.example_row(MILL)
# Beyond the limit of strain by far.
WORN = GOOD | {"type": "L", "torque": 62.0, "tool_wear": 230}
PUMP: dict[str, Any] = schema.example_row(profiles.load("pump"))
MILLING = {"profile": "milling"}


def predict(client: httpx.Client, *rows: dict[str, Any], machine: str | None = "mill-1", **query: str) -> list[Any]:
    body = {"rows": list(rows), **({"machine": machine} if machine else {})}
    answer = client.post("/predict", params=query or MILLING, json=body)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["predictions"]
    return found


def explain(client: httpx.Client, **question: Any) -> dict[str, Any]:
    answer = client.post("/explain", json=question)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_adds_up(said: dict[str, Any]) -> None:
    parts = sum(part["contribution"] for part in said["contributions"])
    assert said["base"] + parts == pytest.approx(said["probability"], abs=1e-6)


def counts(engine: Engine) -> dict[str, int]:
    tables = ("prediction", "machine", "machine_state", "request", "alarm", "outcome", "event")
    with engine.connect() as connection:
        return {t: connection.execute(text(f"SELECT count(*) FROM {t}")).scalar_one() for t in tables}


def test_a_stored_prediction_is_explained_as_it_was_made(people: People) -> None:
    before, row = predict(people("operator"), GOOD, WORN)
    said = explain(people("viewer"), prediction_id=row["id"])
    assert said["probability"] == pytest.approx(row["probability"], abs=1e-7)
    assert (said["failing"], said["verdict"]) == (True, "this setting fails")
    assert (said["profile"], said["machine"], said["prediction_id"]) == ("milling", "mill-1", row["id"])
    assert_adds_up(said)
    shares = [abs(part["contribution"]) for part in said["contributions"]]
    assert shares == sorted(shares, reverse=True)
    parts = {part["name"]: part for part in said["contributions"]}
    assert set(parts) == set(MILL.model.inputs)
    assert (parts["strain"]["title"], parts["strain"]["text"]) == ("Strain", "14,260 min N.m")
    assert (parts["type"]["value"], parts["type"]["text"]) == ("L", "low")
    assert said["reason"] == row["reason"]
    assert [mode["probability"] for mode in said["modes"]] == sorted(row["modes"].values(), reverse=True)
    assert said["previous"]["id"] == before["id"]
    assert said["held"] == []


def test_the_limits_are_told_with_the_rows_values(people: People) -> None:
    (row,) = predict(people("operator"), WORN)
    said = explain(people("viewer"), prediction_id=row["id"])
    limits = {(limit["mode"], limit["conditions"][0]["feature"]): limit for limit in said["limits"]}
    strain = limits["overstrain", "strain"]
    assert strain["broken"]
    assert strain["text"] == "Strain 14,260 min N.m, limit 11,000 for quality low: 3,260 min N.m beyond it"
    assert strain["conditions"][0]["distance"] == pytest.approx(-3260)
    assert limits["tool_wear", "tool_wear"] == {
        "mode": "tool_wear", "title": "Tool wear", "advisory": True, "broken": True,
        "text": "Tool wear 230 min, limit 200: 30 min beyond it",
        "conditions": [{"feature": "tool_wear", "title": "Tool wear", "unit": "min", "value": 230.0, "above": 200.0,
                        "broken": True, "distance": -30.0}],
    }  # fmt: skip
    assert said["compared"]["limits"] is True


def test_the_smallest_change_is_one_that_a_person_can_do_and_it_works(people: People) -> None:
    (row,) = predict(people("operator"), WORN)
    said = explain(people("viewer"), prediction_id=row["id"])
    smallest = said["smallest"]
    assert smallest["name"] in ("torque", "speed", "tool_wear")
    assert said["advice"] == f"{smallest['text']} would make it safe."
    for change in said["changes"]:
        again = explain(people("viewer"), profile="milling", row=WORN | {change["name"]: change["to"]})
        assert again["failing"] is False
        assert again["compared"]["limits"] is False
        assert again["probability"] == pytest.approx(change["probability"], abs=1e-7)
        if change["name"] == "tool_wear":
            assert change["to"] == 0  # a tool is changed; it does not get a little younger
        assert change["settable"] is (MILL.column(change["name"]).settable is not False)


def test_a_row_that_is_safe_needs_no_change(people: People) -> None:
    said = explain(people("viewer"), profile="milling", row=GOOD)
    assert (said["failing"], said["changes"], said["smallest"]) == (False, [], None)
    assert said["advice"] == "It is safe as it is."
    assert "reason" not in said


def test_what_is_tried_out_is_stored_nowhere(people: People, engine: Engine) -> None:
    people("viewer").get("/whoami")
    (row,) = predict(people("operator"), GOOD, machine=None)
    before = counts(engine)
    said = explain(people("viewer"), profile="milling", row=WORN, machine="never-seen", curve="torque")
    assert said["machine"] == "never-seen"
    assert said["prediction_id"] is None
    explain(people("viewer"), prediction_id=row["id"])
    explain(people("viewer"), profile="pump", row=PUMP)
    assert counts(engine) == before


def test_a_row_tried_out_is_predicted_like_one_that_is_stored(people: People) -> None:
    for profile, row in (
        ("milling", WORN),
        ("pump", PUMP | {"vibration": 14.0}),
        ("pump", PUMP | {"temperature": None}),
    ):
        machine = "mill-1" if profile == "milling" else None
        tried = explain(people("viewer"), profile=profile, row=row, **({"machine": machine} if machine else {}))
        (stored,) = predict(people("operator"), row, machine=machine, profile=profile)
        assert tried["probability"] == pytest.approx(stored["probability"], abs=1e-7)
        assert tried["outside"]["outside"] >= stored["outside"]
        assert_adds_up(tried)
        said = explain(people("viewer"), prediction_id=stored["id"])
        for name in ("probability", "base", "changes", "limits", "modes", "held"):
            assert said[name] == tried[name], name


def test_windows_see_what_the_machine_did_before(people: People) -> None:
    times = [f"2026-03-01T08:{minute}0:00+01:00" for minute in range(6)]
    rows = [PUMP | {"measured_at": time, "vibration": 2.0 + n} for n, time in enumerate(times)]
    stored = predict(people("operator"), *rows[:5], machine=None, profile="pump")
    tried = explain(people("viewer"), profile="pump", row=rows[5])
    mean = next(part for part in tried["contributions"] if part["name"] == "vibration_mean")
    assert mean["value"] == pytest.approx(4.5)
    assert tried["previous"]["id"] == stored[4]["id"]
    (last,) = predict(people("operator"), rows[5], machine=None, profile="pump")
    said = explain(people("viewer"), prediction_id=last["id"])
    assert said["held"] == []
    assert said["previous"]["id"] == stored[4]["id"]
    part = next(part for part in said["contributions"] if part["name"] == "vibration_mean")
    assert part["contribution"] == pytest.approx(mean["contribution"])


def test_what_cannot_be_derived_again_is_held_as_it_was(people: People, engine: Engine) -> None:
    times = [f"2026-03-01T08:{minute}0:00+01:00" for minute in range(3)]
    rows = [
        PUMP | {"measured_at": time, "vibration": value} for time, value in zip(times, (3.0, 8.0, 10.0), strict=True)
    ]
    stored = predict(people("operator"), *rows, machine=None, profile="pump")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM prediction WHERE id = :id"), {"id": stored[1]["id"]})
    said = explain(people("viewer"), prediction_id=stored[2]["id"])
    assert {"name": "vibration_mean", "title": "Vibration, mean of the last 6 readings"} in said["held"]
    mean = next(part for part in said["contributions"] if part["name"] == "vibration_mean")
    assert mean["value"] == pytest.approx(7.0)
    assert said["probability"] == pytest.approx(stored[2]["probability"], abs=1e-7)


def test_a_row_that_an_older_model_predicted_is_explained_by_that_one(people: People, shelf: Shelf) -> None:
    first, second = shelf.milling
    (row,) = predict(people("operator"), WORN)
    before = explain(people("viewer"), prediction_id=row["id"])
    people("engineer").post(f"/models/{second}/activate", params=MILLING)
    assert predict(people("operator"), WORN)[0]["id"] > row["id"]
    after = explain(people("viewer"), prediction_id=row["id"])
    assert (before["model_version"], after["model_version"]) == (first, first)
    assert after["contributions"] == before["contributions"]
    assert explain(people("viewer"), profile="milling", row=WORN)["model_version"] == second


def test_a_model_that_is_gone_is_said_to_be(people: People, shelf: Shelf, settings: Settings) -> None:
    first, second = shelf.milling
    (row,) = predict(people("operator"), WORN)
    people("engineer").post(f"/models/{second}/activate", params=MILLING)
    shutil.rmtree(settings.models / "milling" / first)
    problem = assert_problem(people("viewer").post("/explain", json={"prediction_id": row["id"]}), 404, "not_found")
    assert problem["detail"] == (
        f"Prediction {row['id']} cannot be explained: its model {first} is not installed any more."
    )
    assert "model install" in problem["way_out"]


def test_an_older_model_that_is_spoiled_explains_nothing(people: People, shelf: Shelf, settings: Settings) -> None:
    first, second = shelf.milling
    (row,) = predict(people("operator"), WORN)
    people("engineer").post(f"/models/{second}/activate", params=MILLING)
    model = settings.models / "milling" / first / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    answer = people("viewer").post("/explain", json={"prediction_id": row["id"]})
    assert assert_problem(answer, 422)["code"].startswith("bundle.")


def test_the_curve_goes_over_the_range_and_agrees_with_single_rows(people: People) -> None:
    curve = explain(people("viewer"), profile="milling", row=WORN, curve="torque")["curve"]
    values, probabilities = curve["values"], curve["probabilities"]
    assert (curve["title"], curve["unit"]) == ("Torque", "N.m")
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 100)
    assert WORN["torque"] in values
    assert len(values) == len(probabilities) == len(curve["failing"]) == len(curve["outside"]) < 300
    for at in (0, len(values) // 2, values.index(WORN["torque"])):
        single = explain(people("viewer"), profile="milling", row=WORN | {"torque": values[at]})
        assert single["probability"] == probabilities[at]
        assert single["failing"] == curve["failing"][at]
        assert single["compared"]["limits"] == curve["limit_broken"][at]
    assert curve["outside"][-1] is True
    by_type = explain(people("viewer"), profile="milling", row=WORN, curve="type")["curve"]
    assert by_type["values"] == ["L", "M", "H"]
    problem = assert_problem(
        people("viewer").post("/explain", json={"profile": "milling", "row": WORN, "curve": "strain"}), 400, "request"
    )
    assert "torque" in problem["way_out"]


def test_what_lies_outside_of_training_is_marked(people: People) -> None:
    said = explain(people("viewer"), profile="milling", row=GOOD | {"speed": 3900, "torque": 95.0})
    outside = said["outside"]
    assert outside["outside"]
    assert {"speed", "torque"} <= set(outside["names"])
    assert outside["text"].startswith("Beyond what the model has seen: Rotational speed, Torque")
    parts = {part["name"]: part for part in said["contributions"]}
    assert parts["speed"]["outside"]
    assert not parts["tool_wear"]["outside"]
    assert parts["speed"]["seen"][1] < 3900


def test_a_combination_that_training_never_had_is_marked(people: People) -> None:
    """Each value is usual; a process as cold as the air is not."""
    said = explain(
        people("viewer"),
        profile="milling",
        row=GOOD | {"air_temperature": 303.0, "process_temperature": 312.5, "speed": 1900, "torque": 70.0},
    )
    together = said["outside"]
    assert together["together"] or together["names"]
    assert together["distance"] > 0
    usual = explain(
        people("viewer"), profile="milling", row=GOOD | {"air_temperature": 300.0, "process_temperature": 309.6}
    )
    assert usual["outside"]["distance"] < together["distance"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"prediction_id": 1, "row": GOOD}, 400),
        ({"prediction_id": "1"}, 400),
        ({"prediction_id": True}, 400),
        ({"prediction_id": 0}, 400),
        ({"prediction_id": 1, "profile": "milling"}, 400),
        ({"prediction_id": 10**9}, 404),
        ({"row": GOOD}, 400),
        ({"row": [GOOD], "profile": "milling"}, 400),
        ({"row": GOOD, "profile": "none"}, 404),
        ({"row": GOOD, "profile": 7}, 400),
        ({"row": GOOD, "profile": "milling", "machin": "x"}, 400),
        ({"row": GOOD, "profile": "milling", "machine": "a/b\x00"}, 400),
        ({"row": GOOD, "profile": "milling", "curve": "none"}, 400),
        ({"row": PUMP, "profile": "pump", "machine": "P-01"}, 400),
        ({"row": GOOD | {"torque": -1}, "profile": "milling"}, 422),
        ({"row": GOOD | {"torque": "5"}, "profile": "milling"}, 422),
        ({"row": {}, "profile": "milling"}, 422),
    ],
)
def test_a_question_that_is_none_is_refused(still: People, body: Any, status: int) -> None:
    assert_problem(still("viewer").post("/explain", json=body), status)


def test_a_question_is_json_and_not_too_long(still: People) -> None:
    csv = still("viewer").post("/explain", content=b"a,b\n", headers={"content-type": "text/csv"})
    assert_problem(csv, 415, "unsupported_media")
    long = still("viewer").post("/explain", json={"prediction_id": 1, "curve": "x" * 1_100_000})
    assert_problem(long, 413, "too_large")
    broken = still("viewer").post("/explain", content=b'{"row":', headers={"content-type": "application/json"})
    assert_problem(broken, 400, "request")


def test_the_client_asks_the_same(people: People, address: Path) -> None:
    (row,) = predict(people("operator"), WORN)
    with Client(address, people.token("viewer", name="a screen")) as client:
        said = client.explain(row["id"], curve="speed")
        assert said["curve"]["name"] == "speed"
        tried = client.what_if(WORN, profile="milling", machine="mill-1")
        assert tried["contributions"] == said["contributions"]
        with pytest.raises(NotFound):
            client.explain(10**9)
        with pytest.raises(RowsRefused):
            client.what_if(WORN | {"torque": -1}, profile="milling")


def test_the_examples_of_the_description_work(people: People) -> None:
    predict(people("operator"), GOOD)
    document = people("viewer").get("/openapi.json").json()
    examples = document["paths"]["/explain"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"milling", "pump", "prediction"}
    for example in examples.values():
        explain(people("viewer"), **example["value"])


def test_a_former_model_is_loaded_once_and_let_go_again(people: People, shelf: Shelf, settings: Settings) -> None:
    models = people.app.state.api.models
    models.refresh()
    first, second = shelf.milling
    assert models.version("milling", first) is models.get("milling")
    former = models.version("milling", second)
    assert models.version("milling", second) is former
    keys = signing.trusted_keys(settings.keys)
    assert bundle.active_version(settings.models, "milling") == first
    assert former.bundle.digest == bundle.load(settings.models, "milling", second, keys).digest
