"""Requests made out of the API's own description, sound and unsound: no 5xx, and every refusal a problem document."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests import counts
from tests.api.conftest import People, running_tcp

EXAMPLES_EACH = 8 if counts.LONG else 3  # about 200 in all, or 80


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_the_api_fail(people: People, mode: GenerationMode) -> None:
    document = people("viewer").get("/openapi.json").json()
    headers = {"authorization": f"Bearer {people.token('admin')}"}
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) > 20
    with running_tcp(people.app) as base, requests.Session() as http:
        for operation in operations:
            send_some(operation.as_strategy(generation_mode=mode), http, base, headers)


def send_some(strategy: st.SearchStrategy[Any], http: requests.Session, base: str, headers: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES_EACH,
        deadline=None,
        derandomize=True,
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
        where = f"{case.method} {case.formatted_path}: {response.status_code} {response.text[:300]}"
        assert response.status_code < 500, where
        if response.status_code >= 400:
            assert response.headers["content-type"] == "application/problem+json", where

    # An operation without any parameter has no unsound request.
    with suppress(Unsatisfiable):
        send()
