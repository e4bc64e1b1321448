"""Requests made out of the API's own description, sound and unsound: no 5xx, and every refusal a problem document.

``APPLIANCE_FUZZ_CASES`` says how many; by default few, and 20,000 in ``make soak``.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests import counts, hostile
from tests.api.conftest import People, running_tcp

CASES = int(os.environ.get("APPLIANCE_FUZZ_CASES") or (20_000 if counts.LONG else 80))
AT_A_TIME = 2 if CASES < 1000 else 8  # of an operation, before the next has its turn


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_the_api_fail(people: People, mode: GenerationMode) -> None:
    document = people("viewer").get("/openapi.json").json()
    settle(people)
    headers = {"authorization": f"Bearer {people.token('admin')}"}
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) > 20
    answers: Counter[int] = Counter()
    first = 0
    with running_tcp(people.app) as base, requests.Session() as http:
        while answers.total() < CASES // 2:
            before = answers.total()
            for operation in operations:
                strategy = operation.as_strategy(generation_mode=mode)
                answers.update(answers_to(strategy, first, http, base, headers))
            assert answers.total() > before
            first += 1
        assert http.get(f"{base}/health/status", headers=headers).status_code == 200, "the admin is none any more"
    print(f"{mode.value}: {answers.total()} requests, answers {dict(sorted(answers.items()))}")
    assert any(200 <= status < 300 for status in answers) or mode is GenerationMode.NEGATIVE


def settle(people: People) -> None:
    """Something that numbers lead to: predictions, an outcome, a file that was handed in."""
    operator, mill = people("operator"), {"profile": "milling", "machine": "mill-1"}
    body = {"params": mill, "content": hostile.MILL, "headers": {"content-type": "text/csv"}}
    assert operator.post("/predict", **body).status_code == 200
    assert operator.post("/file-checks", **body).status_code == 201
    told = {"prediction_id": 1, "kind": "failure"}
    assert operator.post("/outcomes", json=told).status_code in (200, 201)


def answers_to(
    strategy: st.SearchStrategy[Any], first: int, http: requests.Session, base: str, headers: dict[str, str]
) -> Counter[int]:
    """The statuses of some requests to one operation; ``first`` is the seed of them."""
    answers: Counter[int] = Counter()

    @seed(first)
    @settings(
        max_examples=AT_A_TIME,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=strategy)
    def send(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url=base)
        asked["headers"] = {**asked["headers"], **headers}
        asked.pop("cookies", None)
        response = http.request(**asked)
        answers[response.status_code] += 1
        where = f"{case.method} {case.formatted_path}: {response.status_code} {response.text[:300]}"
        assert response.status_code < 500, where
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json", where

    # An operation without any parameter has no unsound request.
    with suppress(Unsatisfiable):
        send()
    return answers
