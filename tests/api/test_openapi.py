"""The description of the API: true, and made from the profiles that are served."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.api import bodies, schema
from appliance.api.wire import Ask
from appliance.profile import Column, Profile
from tests import counts, profiles
from tests.api.conftest import People
from tests.api.test_problems import OPEN

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def document(still: People) -> dict[str, Any]:
    found: dict[str, Any] = still("viewer").get("/openapi.json").json()
    return found


def test_the_examples_work_as_they_stand(people: People, document: dict[str, Any]) -> None:
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    for media in ("application/json", "text/csv"):
        examples = content[media]["examples"]
        assert set(examples) == {"milling", "pump"}
        for name, example in examples.items():
            value = example["value"]
            body = value.encode("windows-1252") if isinstance(value, str) else json.dumps(value).encode()
            response = people("operator").post(
                "/predict", params={"profile": name}, content=body, headers={"content-type": media}
            )
            assert response.status_code == 200, response.text


def test_each_profile_has_its_schema_with_units_ranges_and_categories(document: dict[str, Any]) -> None:
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [one["$ref"].rpartition("/")[2] for one in body["oneOf"]] == ["MillingRows", "PumpRows"]
    row = document["components"]["schemas"]["MillingRow"]
    torque = row["properties"]["torque"]
    assert (torque["title"], torque["minimum"], torque["maximum"], torque["x-unit"]) == ("Torque", 0, 100, "N.m")
    assert row["properties"]["type"]["enum"] == ["L", "M", "H"]
    assert row["additionalProperties"] is False
    assert set(row["required"]) == {"type", "air_temperature", "process_temperature", "speed", "torque", "tool_wear"}


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = {(p, m): op for p, methods in document["paths"].items() for m, op in methods.items()}
    assert len(operations) > 20
    for (path, _), operation in operations.items():
        assert operation["summary"]
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
        assert "422" not in operation["responses"]
        assert (operation.get("security") == []) == (path in OPEN)
        assert ("x-role" in operation) == (path not in OPEN)


def test_the_page_needs_nothing_from_elsewhere_and_tells_nothing_of_the_plant(still: People) -> None:
    response = still.nobody.get("/docs")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in response.text
    assert "src=" not in response.text
    assert "https://" not in response.text
    for word in ("torque", "vibration", "milling", "pump", "mill-1"):
        assert word not in response.text.lower()
    for word in ("/predict", "operator", "problem-rows"):
        assert word in response.text
    assert still.nobody.get("/openapi.json").status_code == 401


def values(column: Column) -> st.SearchStrategy[Any]:
    """Values of a column, sound ones and others."""
    low, high = column.minimum, column.maximum
    sound: st.SearchStrategy[Any]
    match column.type:
        case "number":
            sound = st.floats(low, high, allow_nan=False, allow_infinity=False) | st.integers(
                int(low or -1000), int(high or 1000)
            )
        case "integer":
            sound = st.integers(int(low or -1000), int(high or 2**62))
        case "boolean":
            sound = st.booleans()
        case "category":
            sound = st.sampled_from(column.categories)
        case "time":
            sound = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)).map(
                lambda moment: moment.isoformat()
            )
        case _:
            sound = st.from_regex(column.pattern or "[a-z]+", fullmatch=True, alphabet=st.characters(codec="ascii"))
    odd = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**6), 10**6),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.just([]),
        st.just({}),
    )
    return st.one_of(sound, sound, sound, sound, sound, sound, odd)


def rows(profile: Profile) -> st.SearchStrategy[dict[str, Any]]:
    needed = {c.name: values(c) for c in profile.columns if schema.needed(c)}
    others = {c.name: values(c) for c in profile.columns if not schema.needed(c)}
    return st.fixed_dictionaries(needed, optional=others)


def accepted(profile: Profile, row: dict[str, Any]) -> bool:
    body = json.dumps({"rows": [row]}).encode()
    ask = Ask(profile.name, None, None, "json", "json", None, "")
    found = bodies.read_rows(body, ask, profile, NOW, "UTC")
    assert found.good.height + found.bad == 1
    assert [bad["row"] for bad in found.rejected if bad["reasons"]] == [1] * found.bad
    return found.good.height == 1


@pytest.mark.parametrize("name", ["milling", "pump"])
@settings(max_examples=counts.examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_the_schema_allows_the_contract_takes_and_the_reverse(name: str, data: st.DataObject) -> None:
    profile = profiles.load(name)
    row = data.draw(rows(profile))
    try:
        schema.row_model(profile).model_validate_json(json.dumps(row))
        described = True
    except ValidationError:
        described = False
    taken = accepted(profile, row)
    if described != taken:
        # The contract trims blanks, and takes a blank for a cell that may be empty; a schema cannot say that.
        texts = [value for value in row.values() if isinstance(value, str)]
        assert taken, row
        assert any(text != text.strip() or not text for text in texts), row


def test_a_row_is_refused_for_a_key_that_is_not_its_own(operator: httpx.Client) -> None:
    row = schema.example_row(profiles.load("milling")) | {"vibration": 1.0}
    response = operator.post("/predict", params={"profile": "milling"}, json={"rows": [row]})
    assert response.status_code == 422
    assert "vibration" in response.json()["rows"][0]["reasons"][0]
