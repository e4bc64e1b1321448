"""Small requests that come at the same time: predicted together, answered as if each had come alone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from appliance import bundle, signing
from appliance.api import bodies, together
from appliance.api.submit import submit_together
from appliance.api.wire import Ask
from appliance.profile import MACHINE, ROW, TIME
from appliance.settings import Settings
from tests import counts, profiles
from tests.api.conftest import People, Shelf
from tests.api.test_openapi import rows
from tests.api.test_predict import FAILING, MILL, PUMP, PUMP_ROW, stored
from tests.api.test_predict import ROW as SOUND
from tests.api.test_problems import assert_problem

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Held:
    """The work on the first batch waits until all that shall come after it wait in line."""

    app: FastAPI
    pool: ThreadPoolExecutor
    batches: list[int] = field(default_factory=list)
    under_way: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def work(self, api: Any, served: Any, source: Any, asked: Any) -> Any:
        self.batches.append(len(asked))
        self.under_way.set()
        assert self.go_on.wait(30)
        return submit_together(api, served, source, asked)

    def gather(self, first: Callable[[], Any], others: list[Callable[[], Any]]) -> list[Any]:
        """What ``others`` got that were sent while ``first`` was under way."""
        leading = self.pool.submit(first)
        assert self.under_way.wait(30)
        following: list[Future[Any]] = []
        for at, other in enumerate(others, start=1):
            following.append(self.pool.submit(other))
            self._until(at)
        self.go_on.set()
        leading.result(30)
        return [one.result(30) for one in following]

    def _until(self, count: int) -> None:
        waiting = threading.Event()
        for _ in range(3000):
            if sum(len(line.waiting) for line in self.app.state.together._lines.values()) >= count:
                return
            waiting.wait(0.01)
        raise AssertionError(f"{count} requests never waited")


@pytest.fixture
def held(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    with ThreadPoolExecutor(40) as pool:
        held = Held(app, pool)
        monkeypatch.setattr(together, "submit_together", held.work)
        yield held
        held.go_on.set()


def ask(operator: httpx.Client, body: Any, key: str | None = None, **params: str) -> Callable[[], httpx.Response]:
    headers = {"idempotency-key": key} if key else {}
    return lambda: operator.post("/predict", params=params or MILL, json=body, headers=headers)


def commits(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(DISTINCT xmin::text) FROM prediction")).scalar_one())


def test_what_comes_meanwhile_is_one_commit(operator: httpx.Client, engine: Engine, held: Held) -> None:
    """Sound ones, bad ones, keys, repeated keys and other machines: each gets what it would have got alone."""
    mill = [{"rows": [SOUND] * (at % 3 + 1) + [FAILING], "machine": f"mill-{at % 4}"} for at in range(12)]
    bad = {"rows": [SOUND, SOUND | {"torque": -1}, SOUND | {"odd": 1}], "machine": "mill-1"}
    timed = {"rows": [SOUND], "machine": "mill-9", "time": "2026-03-01T08:00:00+01:00"}
    others = [ask(operator, body, key=f"k{at}" if at % 2 else None) for at, body in enumerate(mill)]
    others += [
        ask(operator, bad),
        ask(operator, bad, key="bad"),
        ask(operator, {"rows": [SOUND]}),
        ask(operator, timed),
    ]
    answers = held.gather(ask(operator, {"rows": [SOUND], "machine": "first"}), others)
    assert held.batches == [1, 16]
    assert commits(engine) == 2
    for body, answer in zip(mill, answers[:12], strict=True):
        told = answer.json()
        assert answer.status_code == 200, answer.text
        assert told["rows"] == {"received": len(body["rows"]), "predicted": len(body["rows"]), "rejected": 0}
        assert [one["row"] for one in told["predictions"]] == list(range(1, len(body["rows"]) + 1))
        assert {one["machine"] for one in told["predictions"]} == {body["machine"]}
        assert told["predictions"][-1]["failing"]
        assert told["predictions"][-1]["reason"]["mode"] == "overstrain"
        for one in told["predictions"]:
            kept = operator.get(f"/predictions/{one['id']}").json()
            assert (kept["machine"], kept["failing"]) == (body["machine"], one["failing"])
            assert kept["probability"] == pytest.approx(one["probability"], abs=1e-6)
    for answer in answers[12:14]:
        problem = assert_problem(answer, 422, "rows")
        assert [one["row"] for one in problem["rows"]] == [2, 3]
    assert answers[14].json()["predictions"][0]["machine"] is None
    assert (
        operator.get(f"/predictions/{answers[15].json()['predictions'][0]['id']}")
        .json()["read_at"]
        .startswith("2026-03-01T07:00")
    )
    assert stored(engine) == 1 + sum(len(body["rows"]) for body in mill) + 2
    ids = [one["id"] for answer in answers if answer.status_code == 200 for one in answer.json()["predictions"]]
    assert len(set(ids)) == len(ids)
    for at, (body, first) in enumerate(zip(mill, answers[:12], strict=True)):
        if at % 2:
            again = ask(operator, body, key=f"k{at}")()
            assert again.content == first.content
            assert again.headers["idempotent-replay"] == "true"


def test_one_key_twice_in_line_is_stored_once(operator: httpx.Client, engine: Engine, held: Held) -> None:
    body = {"rows": [SOUND, FAILING], "machine": "mill-1"}
    answers = held.gather(ask(operator, {"rows": [SOUND]}), [ask(operator, body, key="one") for _ in range(4)])
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replay") for answer in answers] == [None, "true", "true", "true"]
    assert stored(engine) == 3


def test_who_is_at_fault_spoils_nothing_for_the_others(operator: httpx.Client, engine: Engine, held: Held) -> None:
    """A key that came with another body is an error of the store, in the middle of the others' transaction."""
    held.go_on.set()
    assert ask(operator, {"rows": [SOUND]}, key="used")().status_code == 200
    held.go_on.clear()
    held.under_way.clear()
    others = [ask(operator, {"rows": [SOUND], "machine": "a"}), ask(operator, {"rows": [FAILING]}, key="used")]
    others.append(ask(operator, {"rows": [SOUND], "machine": "b"}, key="new"))
    answers = held.gather(ask(operator, {"rows": [SOUND]}), others)
    assert [answer.status_code for answer in answers] == [200, 422, 200]
    assert_problem(answers[1], 422, "idempotency_key")
    assert stored(engine) == 4


def test_the_database_is_away_for_all(
    operator: httpx.Client, engine: Engine, held: Held, cluster: Any, dsn: str
) -> None:
    held.go_on.set()
    assert ask(operator, {"rows": [SOUND]})().status_code == 200
    held.go_on.clear()
    held.under_way.clear()
    name = dsn.rpartition("/")[2].partition("?")[0]
    cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    cluster.sql(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        answers = held.gather(ask(operator, {"rows": [SOUND]}), [ask(operator, {"rows": [SOUND]})] * 5)
    finally:
        cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    for answer in answers:
        assert_problem(answer, 503, "store_away")
        assert int(answer.headers["retry-after"]) > 0
    assert stored(engine) == 1


def test_each_is_answered_by_the_model_that_served_when_it_came(
    operator: httpx.Client, app: FastAPI, settings: Settings, shelf: Shelf, held: Held
) -> None:
    keys = signing.trusted_keys(settings.keys)

    def swap() -> httpx.Response:
        bundle.activate(settings.models, "milling", shelf.milling[1], keys)
        app.state.api.refresh()
        return ask(operator, {"rows": [SOUND]})()

    leading = held.pool.submit(ask(operator, {"rows": [SOUND]}))
    assert held.under_way.wait(30)
    second = held.pool.submit(swap)
    held._until(0)
    held.go_on.set()
    assert leading.result(30).json()["model_version"] == shelf.milling[0]
    assert second.result(30).json()["model_version"] == shelf.milling[1]


def test_what_is_not_stored_is_answered_together_and_apart_from_what_is(
    operator: httpx.Client, engine: Engine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_LIGHT_ROWS", 0)  # none is done at once, in the loop that takes the others' in
    body = {"rows": [SOUND, FAILING], "machine": "mill-1"}
    only = MILL | {"store": "false"}
    answers = held.gather(ask(operator, body, **only), [ask(operator, body, **only) for _ in range(6)])
    assert held.batches == [1, 6]
    assert len({answer.content for answer in answers}) == 1
    assert stored(engine) == 0


def test_each_of_a_crowd_that_stores_nothing_gets_its_own_answer(people: People, engine: Engine) -> None:
    """Of few rows and of many: some are done in the event loop, some by a thread beside it."""
    client = people("operator")
    asked = [
        {"rows": [SOUND, FAILING][: 1 + n % 2] * (1 + 40 * (n % 3 == 0)), "machine": f"mill-{n}"} for n in range(60)
    ]
    alone = [ask(client, body, **MILL | {"store": "false"})().json()["predictions"] for body in asked]
    with ThreadPoolExecutor(16) as pool:
        crowd = list(pool.map(lambda body: ask(client, body, **MILL | {"store": "false"})(), asked))
    assert [one.json()["predictions"] for one in crowd] == alone
    assert stored(engine) == 0


def test_those_who_ask_again_at_once_are_gathered() -> None:
    """After a batch the others' bytes are read before the next one begins, so that it holds more than the first of them."""
    line = together._Line(object(), "api", stored=True)  # type: ignore[arg-type]

    async def come() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
            line.waiting.append(object())  # type: ignore[arg-type]

    async def both() -> None:
        coming = asyncio.create_task(come())
        await together._gather(line)
        assert len(line.waiting) == 5
        await coming
        await together._gather(line)  # and ends where nobody comes

    asyncio.run(both())
    assert len(line.waiting) == 5


def test_questions_of_screens_do_not_see_each_other_in_windows(people: People, held: Held) -> None:
    """A question is nobody's reading: where the model looks back, it is asked alone."""
    held.go_on.set()
    webapp = people("operator", "webapp")
    body = {"rows": [PUMP_ROW]}
    answers = list(held.pool.map(lambda _: ask(webapp, body, **PUMP)(), range(8)))
    assert held.batches == []
    assert len({json.dumps(answer.json()["predictions"][0]["probability"]) for answer in answers}) == 1


def test_a_crowd_is_answered_and_counted(people: People, engine: Engine) -> None:
    """From both sources, on few machines, as fast as they can."""
    clients = [people("operator"), people("operator", "webapp")]

    def send(number: int) -> int:
        body = {"rows": [SOUND if number % 5 else FAILING], "machine": f"mill-{number % 3}"}
        answer = clients[number % 2].post("/predict", params=MILL, json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["predictions"][0]["id"])

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(send, range(200)))
    assert len(set(ids)) == stored(engine) == 200
    with engine.connect() as connection:
        alarms = connection.execute(text("SELECT count(*) FROM alarm WHERE closed_at IS NULL")).scalar_one()
        last = connection.execute(text("SELECT max(last_id) FROM machine_state")).scalar_one()
    assert alarms <= 3
    assert last in ids


@st.composite
def _asked(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], datetime]:
    body: dict[str, Any] = {"rows": draw(st.lists(rows(profiles.load(name)), min_size=1, max_size=4))}
    if name == "milling":
        if draw(st.booleans()):
            body["machine"] = draw(st.sampled_from(["mill-1", "mill-2", "demo-mill-3"]))
        if draw(st.booleans()):
            body["time"] = draw(st.sampled_from(["2026-02-01T10:00:00Z", "2026-02-28T10:00:00Z"]))
    return body, draw(st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 2))).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", ["milling", "pump"])
@hypothesis(max_examples=counts.examples(30))
@given(data=st.data())
def test_checked_together_or_alone_is_the_same(name: str, data: st.DataObject) -> None:
    profile = profiles.load(name)
    told = Ask(name, None, None, "json", "json", None, "")
    questions = [
        bodies.read_question(json.dumps(body).encode(), told, profile, now, "UTC")
        for body, now in data.draw(st.lists(_asked(name), min_size=1, max_size=5))
    ]
    both = bodies.check(questions, profile)
    for question, found in zip(questions, both, strict=True):
        (alone,) = bodies.check([question], profile)
        assert (found.bad, found.rejected) == (alone.bad, alone.rejected)
        if not alone.bad:
            common = [column for column in found.good.columns if column in alone.good.columns]
            assert {ROW, MACHINE, TIME} <= set(common)
            assert found.good.select(common).equals(alone.good.select(common))
            # Columns that only another question brought are empty.
            brought = [column for column in found.good.columns if column not in common]
            assert all(found.good[column].is_null().all() for column in brought)
