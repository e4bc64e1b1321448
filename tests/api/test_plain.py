"""Plain requests go a way of their own, and nobody can tell by the answer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from appliance.api import plain
from tests.api.conftest import People
from tests.api.test_predict import FAILING, ROW

BODIES = [json.dumps({"rows": rows, "machine": "mill-1"}).encode() for rows in ([ROW], [ROW, FAILING], [ROW | {"speed": "x"}], [])]  # fmt: skip
# Parameters and headers that are plain, and near to it.
QUERIES = ["profile=milling", "profile=pump", "profile=mill", "profile=", "profile=milling&profile=milling", "profile=mil%6Cing", "machine=mill-1", "time=now", "prof=milling", "store=false", "store=0", "store=False", "&", ""]  # fmt: skip
HEADERS: list[tuple[str, str]] = [
    ("content-type", "application/json; charset=utf-8"),
    ("content-type", "text/csv"),
    ("accept", "application/json"),
    ("accept", "text/csv"),
    ("accept", "image/png"),
    ("x-appliance-person", "Ada"),
    ("idempotency-key", "a"),
    ("authorization", "Basic YTph"),
    ("authorization", "Bearer none"),
    ("cookie", "appliance_session=x"),
]


class Ways:
    """Counts who went the plain way, and closes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plain = 0
        self.open = True
        read = plain.read

        def counted(*given: Any) -> Any:
            found = read(*given) if self.open else None
            self.plain += found is not None
            return found

        monkeypatch.setattr(plain, "read", counted)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


def sent(client: httpx.Client, query: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
    response = client.post(f"/predict?{query}", content=body, headers={"content-type": "application/json"} | headers)
    told = {name: value for name, value in response.headers.items() if name not in ("date", "x-request-id")}
    document = response.json() if "json" in response.headers["content-type"] else response.text
    if isinstance(document, dict):
        for name in ("request_id", "instance", "predicted_at"):
            document.pop(name, None)
    return response.status_code, told, document


def test_what_programs_send_all_day_is_plain(still: People, ways: Ways) -> None:
    operator = still("operator")
    assert operator.get("/profiles").status_code == 200  # its token is looked up
    assert sent(operator, "profile=milling&store=false", {}, BODIES[0])[0] == 200
    assert ways.plain == 1


def test_who_may_not_is_refused_as_ever(still: People, ways: Ways) -> None:
    for _ in range(2):
        assert sent(still("viewer"), "profile=milling&store=false", {}, BODIES[0])[0] == 403
        assert sent(still.nobody, "profile=milling&store=false", {}, BODIES[0])[0] == 401
    assert ways.plain == 0


@hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(QUERIES), max_size=3).map(lambda parts: "&".join(["store=false", *parts])),
    st.lists(st.sampled_from(HEADERS), max_size=2).map(dict),
    st.sampled_from(BODIES),
)
def test_the_plain_way_answers_like_the_usual_one(
    still: People, ways: Ways, query: str, headers: dict[str, str], body: bytes
) -> None:
    operator = still("operator")
    assert operator.get("/profiles").status_code == 200  # its token is believed from here on
    ways.open = True
    quick = sent(operator, query, headers, body)
    ways.open = False
    usual = sent(operator, query, headers, body)
    # Guesses are counted, and the minute's last is another answer.
    assert quick == usual or {quick[0], usual[0]} <= {401, 429}
