"""POST /predict: what is stored is what is answered, and nothing else."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest
from sqlalchemy import Engine, text

from appliance import features
from appliance.api import bodies, schema
from appliance.profile import MACHINE, TIME
from appliance.serving import Models
from appliance.settings import Settings
from tests import profiles, small_models
from tests.api.conftest import People, Shelf
from tests.api.test_problems import assert_problem

ROW: dict[str, Any] = schema.example_row(profiles.load("milling"))
PUMP_ROW: dict[str, Any] = schema.example_row(profiles.load("pump"))
# Above every limit of strain: fails for all that the small model has seen.
FAILING = ROW | {"torque": 60.0, "tool_wear": 240, "speed": 1400}
MILL = {"profile": "milling"}
PUMP = {"profile": "pump"}


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM prediction")).scalar_one())


def test_an_answer_holds_what_was_stored(operator: httpx.Client, engine: Engine, shelf: Shelf) -> None:
    response = operator.post("/predict", params=MILL, json={"rows": [ROW, FAILING], "machine": "mill-1"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["profile"] == "milling"
    assert answer["model_version"] == shelf.milling[0]
    assert answer["stored"] is True
    assert answer["source"] == "api"
    assert answer["rows"] == {"received": 2, "predicted": 2, "rejected": 0}
    assert answer["threshold"] == pytest.approx(profiles.load("milling").threshold)
    calm, failing = answer["predictions"]
    assert (calm["row"], failing["row"]) == (1, 2)
    assert failing["id"] == calm["id"] + 1
    assert failing["failing"] is True
    assert failing["verdict"] == "this setting fails"
    assert failing["probability"] >= answer["threshold"]
    assert failing["reason"]["mode"] == "overstrain"
    assert failing["reason"]["text"] == "Strain 14,400 min N.m, limit 12,000 for quality medium"
    assert failing["reason"]["action"].startswith("Lower the torque")
    assert "reason" not in calm or calm["failing"]
    assert set(calm["modes"]) == {"tool_wear", "heat_dissipation", "power", "overstrain"}
    assert stored(engine) == 2
    for said in answer["predictions"]:
        row = operator.get(f"/predictions/{said['id']}").json()
        assert row["probability"] == pytest.approx(said["probability"], abs=1e-6)
        assert row["failing"] == said["failing"]
        assert (row["machine"], row["source"], row["profile"]) == ("mill-1", "api", "milling")
        assert {mode["name"]: mode["probability"] for mode in row["modes"]} == pytest.approx(said["modes"], abs=1e-6)


def test_the_scores_are_those_of_the_model(operator: httpx.Client, settings: Settings) -> None:
    models = Models(settings)
    models.refresh()
    served = models.get("milling")
    frame = small_models.rows(served.profile, 300, seed=7)
    names = [column.name for column in served.profile.columns if schema.needed(column)]
    answer = operator.post(
        "/predict", params=MILL, json={"rows": frame.select(names).to_dicts(), "machine": "m"}
    ).json()
    scores = served.scorer.score(features.matrix(served.profile, frame))
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(scores.probability.tolist(), abs=1e-6)
    assert [p["failing"] for p in answer["predictions"]] == scores.failing.tolist()
    assert sum(scores.failing.tolist()) > 5


def test_both_profiles_are_served_side_by_side(operator: httpx.Client, engine: Engine) -> None:
    mill = operator.post("/predict", params=MILL, json={"rows": [ROW], "machine": "mill-1"})
    pump = operator.post("/predict", params=PUMP, json={"rows": [PUMP_ROW]})
    assert mill.status_code == pump.status_code == 200
    assert pump.json()["predictions"][0]["machine"] == "P-01"
    assert pump.json()["predictions"][0]["modes"].keys() == {"bearing"}
    problem = assert_problem(operator.post("/predict", json={"rows": [ROW]}), 400, "request")
    assert "milling, pump" in problem["way_out"]
    assert_problem(operator.post("/predict", params={"profile": "lathe"}, json={"rows": [ROW]}), 404, "not_found")
    assert stored(engine) == 2


def test_windows_see_the_rows_before(operator: httpx.Client) -> None:
    for minute, vibration in ((0, 2.0), (10, 4.0)):
        row = PUMP_ROW | {"vibration": vibration, "measured_at": f"2026-03-01T08:{minute:02d}:00+01:00"}
        answer = operator.post("/predict", params=PUMP, json={"rows": [row]}).json()
    found = operator.get(f"/predictions/{answer['predictions'][0]['id']}").json()
    values = {feature["name"]: feature["value"] for feature in found["features"]}
    assert values["vibration_mean"] == pytest.approx(3.0)


def test_rows_of_nobody_are_no_machine(operator: httpx.Client, engine: Engine) -> None:
    answer = operator.post("/predict", params=MILL, json={"rows": [ROW]}).json()
    assert answer["predictions"][0]["machine"] is None
    assert operator.get(f"/predictions/{answer['predictions'][0]['id']}").json()["machine"] is None
    assert operator.get("/machines").json()["items"] == []
    for name in ("-", " ", "a\nb", "x" * 101):
        assert_problem(operator.post("/predict", params=MILL, json={"rows": [ROW], "machine": name}), 400, "request")
    assert_problem(operator.post("/predict", params=PUMP, json={"rows": [PUMP_ROW], "machine": "P-02"}), 400, "request")
    assert stored(engine) == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"torque": "42.8"}, "number"),
        ({"torque": True}, "number"),
        ({"torque": None}, "empty"),
        ({"torque": [42.8]}, "number"),
        ({"torque": -1}, "outside"),
        ({"torque": 100.0001}, "outside"),
        ({"torque": 1e308}, "outside"),
        ({"type": "X"}, "not one of"),
        ({"type": 1}, "not text"),
        ({"type": ""}, "empty"),
        ({"udi": 1.5}, "whole"),
        ({"udi": 2**70}, "whole"),
        ({"machine_failure": 1}, "true, false"),
        ({"product_id": "M1\x00"}, "control"),
        ({"Torque [Nm]": 42.8}, "not a column"),
        ({"_row": 7}, "not a column"),
    ],
)
def test_one_bad_row_and_nothing_is_stored(still: People, change: dict[str, Any], word: str) -> None:
    body = {"rows": [ROW, ROW | change, FAILING], "machine": "mill-1"}
    problem = assert_problem(still("operator").post("/predict", params=MILL, json=body), 422, "rows")
    assert [bad["row"] for bad in problem["rows"]] == [2]
    assert word in " ".join(problem["rows"][0]["reasons"])
    assert still("viewer").get("/predictions").json()["items"] == []


def test_a_key_that_is_missing_is_named(still: People) -> None:
    row = {name: value for name, value in ROW.items() if name != "torque"}
    body = {"rows": [ROW | {"speed": 1500}, row]}
    problem = assert_problem(still("operator").post("/predict", params=MILL, json=body), 422)
    assert [bad["row"] for bad in problem["rows"]] == [2]
    assert problem["rows"][0]["reasons"] == ["torque: the column is missing"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"rows": {}}',
        b'{"rows": []}',
        b'{"rows": [1]}',
        b'{"rows": [[]], "machine": "a"}',
        b'{"row": []}',
        b'{"rows": [{}], "store": false}',
        b'{"rows": [{}], "source": "scheduled"}',
        b'{"rows": [{}], "machine": 5}',
        b'{"rows": [{}], "time": "yesterday"}',
        b'{"rows": [{"torque": NaN}]}',
        b'{"rows": [{"torque": 1, "torque": 2}]}',
    ],
)
def test_another_shape_is_refused_as_a_whole(still: People, body: bytes) -> None:
    response = still("operator").post(
        "/predict", params=MILL, content=body, headers={"content-type": "application/json"}
    )
    assert_problem(response, 400, "request")


def test_the_time_of_reading_may_be_told(operator: httpx.Client) -> None:
    body = {"rows": [ROW], "machine": "mill-1", "time": "2026-03-01T08:00:00+01:00"}
    first = operator.post("/predict", params=MILL, json=body).json()["predictions"][0]
    row = operator.get(f"/predictions/{first['id']}").json()
    assert row["read_at"].startswith("2026-03-01T07:00:00")
    earlier = body | {"time": "2026-02-01T08:00:00+01:00"}
    assert operator.post("/predict", params=MILL, json=earlier).json()["predictions"][0]["late"] is True
    future = body | {"time": "2999-01-01T00:00:00Z"}
    assert_problem(operator.post("/predict", params=MILL, json=future), 400, "request")
    assert_problem(operator.post("/predict", params=PUMP, json={"rows": [PUMP_ROW], "time": body["time"]}), 400)


def test_the_source_is_that_of_the_token(people: People) -> None:
    for source in ("webapp", "scheduled", "api"):
        answer = people("operator", source).post("/predict", params=MILL, json={"rows": [ROW], "machine": "m"}).json()
        assert answer["source"] == source
        found = people("viewer").get("/predictions", params={"source": source}).json()["items"]
        assert [item["id"] for item in found] == [answer["predictions"][0]["id"]]


def test_the_same_question_twice_gets_two_answers(operator: httpx.Client) -> None:
    answer = operator.post("/predict", params=MILL, json={"rows": [ROW, ROW]}).json()
    assert answer["rows"] == {"received": 2, "predicted": 2, "rejected": 0}


def test_too_many_json_rows_are_too_large(still: People) -> None:
    body = {"rows": [{}] * (schema.MOST_JSON_ROWS + 1)}
    assert_problem(still("operator").post("/predict", params=MILL, json=body), 413, "too_large")


CSV = schema.example_csv(profiles.load("milling"))
BAD_LINES = (
    "2,M14861,M,298.1,308.6,1551,-5,100\n3,M14862,M,abc,308.6,1551,42,100\n4,M14863,L,298.1,308.6,1300,60.0,230\n"
)


def test_a_csv_keeps_its_good_rows(operator: httpx.Client, engine: Engine) -> None:
    headers = {"content-type": "text/csv"}
    params = MILL | {"machine": "mill-9"}
    response = operator.post("/predict", params=params, content=CSV + BAD_LINES, headers=headers)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["rows"] == {"received": 4, "predicted": 2, "rejected": 2}
    assert [p["row"] for p in answer["predictions"]] == [1, 4]
    assert [r["row"] for r in answer["rejected"]] == [2, 3]
    assert "outside" in answer["rejected"][0]["reasons"][0]
    assert response.headers["rows-rejected"] == "2"
    assert stored(engine) == 2
    assert [m["name"] for m in operator.get("/machines").json()["items"]] == ["mill-9"]


def test_a_csv_comes_back_as_csv_with_every_row(operator: httpx.Client) -> None:
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    response = operator.post("/predict", params=MILL, content=CSV + BAD_LINES, headers=headers)
    assert response.headers["content-type"].startswith("text/csv")
    table = pl.read_csv(response.content)
    assert table["_row"].to_list() == [1, 2, 3, 4]
    assert table["_failing"].to_list() == [False, None, None, True]
    assert table["_probability"].is_null().to_list() == [False, True, True, False]
    assert table["_rejected"].is_null().to_list() == [True, False, False, True]
    assert table["torque"].to_list() == [42.8, None, None, 60.0]
    assert "Strain" in table["_reason"][3]
    assert {"_mode_power", "power", "_id", "_late", "_outside"} <= set(table.columns)


def test_parquet_in_and_out(operator: httpx.Client) -> None:
    profile = profiles.load("pump")
    frame = small_models.rows(profile, 50).drop("_row", MACHINE, TIME)
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    media = "application/vnd.apache.parquet"
    response = operator.post(
        "/predict", params=PUMP, content=buffer.getvalue(), headers={"content-type": media, "accept": media}
    )
    assert response.status_code == 200, response.text
    table = pl.read_parquet(io.BytesIO(response.content))
    assert table.height == 50
    assert table["_machine"].to_list() == frame["pump"].to_list()
    assert table["_probability"].is_between(0, 1).all()


def test_the_dialect_of_the_machine_is_read(operator: httpx.Client) -> None:
    body = schema.example_csv(profiles.load("pump")).encode("windows-1252")
    response = operator.post("/predict", params=PUMP, content=body, headers={"content-type": "text/csv"})
    assert response.json()["predictions"][0]["machine"] == "P-01"


@pytest.mark.parametrize("media", ["text/csv", "application/vnd.apache.parquet"])
@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0\0", b"PAR1", gzip.compress(CSV.encode(), mtime=0), b"a,b\n1,2\n", b"\xff\xfe"]
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(still: People, media: str, body: bytes) -> None:
    response = still("operator").post("/predict", params=MILL, content=body, headers={"content-type": media})
    problem = assert_problem(response, 422)
    assert problem["code"].startswith("file.")
    assert problem["way_out"]


def test_a_file_without_a_good_row_stores_nothing(operator: httpx.Client, engine: Engine) -> None:
    header = CSV.splitlines()[0]
    body = f"{header}\n1,M14860,M,298.1,308.6,1551,-5,100\n"
    response = operator.post("/predict", params=MILL, content=body, headers={"content-type": "text/csv"})
    assert_problem(response, 422, "rows")
    assert stored(engine) == 0


def test_other_formats_are_named(still: People) -> None:
    operator = still("operator")
    assert_problem(operator.post("/predict", params=MILL, content=b"x", headers={"content-type": "image/png"}), 415)
    assert_problem(operator.post("/predict", params=MILL, content=b"x"), 415, "unsupported_media")
    headers = {"accept": "image/png"}
    assert_problem(operator.post("/predict", params=MILL, json={"rows": [ROW]}, headers=headers), 406, "not_acceptable")


def test_the_body_has_a_limit_with_and_without_a_length(operator: httpx.Client, engine: Engine) -> None:
    size = 1024 * 1024 + 1
    headers = {"content-type": "application/json"}
    assert_problem(operator.post("/predict", params=MILL, content=b" " * size, headers=headers), 413, "too_large")

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    response = operator.post("/predict", params=MILL, content=endless(), headers=headers)
    assert_problem(response, 413, "too_large")
    response = operator.post("/alarms/1/ack", content=b" " * 70_000, headers=headers)
    assert_problem(response, 413, "too_large")
    assert stored(engine) == 0


def test_json_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch, still: People) -> None:
    monkeypatch.setattr(bodies, "MOST_JSON_BYTES", 100)
    assert_problem(still("operator").post("/predict", params=MILL, json={"rows": [ROW]}), 413, "too_large")


def test_bodies_of_unknown_length_take_turns_and_all_are_answered(operator: httpx.Client, engine: Engine) -> None:
    body = json.dumps({"rows": [ROW], "machine": "mill-1"}).encode()
    answers: list[httpx.Response] = []

    def in_pieces() -> Iterator[bytes]:
        for at in range(0, len(body), 50):
            yield body[at : at + 50]

    def send() -> None:
        headers = {"content-type": "application/json"}
        answers.append(operator.post("/predict", params=MILL, content=in_pieces(), headers=headers))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 8
    assert stored(engine) == 8


def test_a_client_that_goes_away_in_mid_body_is_no_failure_of_ours(
    people: People, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    secret = people.token("operator", name="gone")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.connect(str(people.address))
        gone.sendall(
            f"POST /predict?profile=milling HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\n"
            'content-type: application/json\r\ncontent-length: 500\r\n\r\n{"rows": ['.encode()
        )
    viewer = people("viewer")
    while 'route="/predict",status="499"' not in viewer.get("/metrics").text:
        time.sleep(0.02)
    assert not [record for record in caplog.records if record.exc_info]
    assert stored(engine) == 0


def test_a_client_that_falls_silent_is_not_waited_for(still: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.api.middleware._SILENCE_SECONDS", 0.05)
    secret = still.token("operator", name="silent")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(30)
        silent.connect(str(still.address))
        silent.sendall(
            f"POST /predict?profile=milling HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {secret}\r\n"
            'content-type: application/json\r\ncontent-length: 500\r\n\r\n{"rows": ['.encode()
        )
        answer = silent.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


def test_a_repeated_key_gets_the_first_answer(operator: httpx.Client, engine: Engine, people: People) -> None:
    body, key = {"rows": [ROW], "machine": "mill-1"}, {"idempotency-key": "shift-1"}
    first = operator.post("/predict", params=MILL, json=body, headers=key)
    again = operator.post("/predict", params=MILL, json=body, headers=key)
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers
    assert stored(engine) == 1
    changed = body | {"machine": "mill-2"}
    assert_problem(operator.post("/predict", params=MILL, json=changed, headers=key), 422, "idempotency_key")
    csv = operator.post("/predict", params=MILL, json=body, headers=key | {"accept": "text/csv"})
    assert_problem(csv, 422, "idempotency_key")
    # Another's key is another key.
    other = people("operator", "webapp").post("/predict", params=MILL, json=body, headers=key)
    assert "idempotent-replay" not in other.headers
    assert stored(engine) == 2


def test_a_refused_request_leaves_its_key_free(operator: httpx.Client) -> None:
    key = {"idempotency-key": "shift-2"}
    bad = operator.post("/predict", params=MILL, json={"rows": [ROW | {"torque": -1}]}, headers=key)
    assert_problem(bad, 422, "rows")
    assert operator.post("/predict", params=MILL, json={"rows": [ROW]}, headers=key).status_code == 200
    for wrong in ("", "a b", "x" * 201):
        response = operator.post("/predict", params=MILL, json={"rows": [ROW]}, headers={"idempotency-key": wrong})
        assert_problem(response, 400, "request")


def test_one_key_from_many_threads_is_stored_once(operator: httpx.Client, engine: Engine) -> None:
    body = {"rows": [ROW, FAILING], "machine": "mill-1"}
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(operator.post("/predict", params=MILL, json=body, headers={"idempotency-key": "one"}))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replay" in answer.headers for answer in answers) == 7
    assert stored(engine) == 2


def test_a_large_answer_is_replayed_too(operator: httpx.Client, engine: Engine) -> None:
    profile = profiles.load("milling")
    names = [column.name for column in profile.columns if schema.needed(column)]
    body = {"rows": small_models.rows(profile, 3000).select(names).to_dicts(), "machine": "m"}
    content, key = json.dumps(body).encode(), {"idempotency-key": "large", "content-type": "application/json"}
    first = operator.post("/predict", params=MILL, content=content, headers=key)
    assert first.status_code == 200, first.text
    assert operator.post("/predict", params=MILL, content=content, headers=key).content == first.content
    assert stored(engine) == len(first.json()["predictions"]) == 3000


def test_without_a_database_nothing_is_claimed_to_be_stored(
    people: People, cluster: Any, dsn: str, engine: Engine, token: Callable[..., str]
) -> None:
    operator = people("operator")
    assert operator.get("/whoami").status_code == 200
    name = dsn.rpartition("/")[2].partition("?")[0]
    cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    cluster.sql(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
    try:
        response = operator.post("/predict", params=MILL, json={"rows": [ROW]})
        assert_problem(response, 503, "store_away")
        assert int(response.headers["retry-after"]) > 0
        assert name not in response.text
        assert operator.get("/health/live").status_code == 200
        assert operator.get("/health/ready").status_code == 503
    finally:
        cluster.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert operator.post("/predict", params=MILL, json={"rows": [ROW]}).status_code == 200
    assert stored(engine) == 1


def test_what_is_only_asked_is_not_stored(operator: httpx.Client, engine: Engine) -> None:
    only = {"store": "false"}
    body = {"rows": [ROW, FAILING], "machine": "mill-1"}
    told = operator.post("/predict", params=MILL | only, json=body).json()
    assert told["stored"] is False
    assert told["predicted_at"] is None
    assert [one["id"] for one in told["predictions"]] == [None, None]
    assert stored(engine) == 0
    assert operator.get("/machines").json()["items"] == []
    kept = operator.post("/predict", params=MILL, json=body).json()
    same = ("row", "machine", "probability", "failing", "verdict", "modes", "outside")
    for asked, done in zip(told["predictions"], kept["predictions"], strict=True):
        assert {name: asked[name] for name in same} == {name: done[name] for name in same}
    key = {"idempotency-key": "shift-3"}
    assert_problem(operator.post("/predict", params=MILL | only, json=body, headers=key), 400, "request")
    bad = operator.post("/predict", params=MILL | only, json={"rows": [ROW | {"torque": -1}]})
    assert_problem(bad, 422, "rows")
    file = schema.example_csv(profiles.load("milling"))
    table = operator.post("/predict", params=MILL | only, content=file, headers={"content-type": "text/csv"}).json()
    assert table["stored"] is False
    assert stored(engine) == 2


def test_a_question_that_is_not_stored_looks_back_at_what_is(operator: httpx.Client, engine: Engine) -> None:
    """The same row among stored ones, and after them."""
    rows = [
        PUMP_ROW | {"vibration": v, "measured_at": f"2026-03-01T08:{m:02d}:00+01:00"} for m, v in ((0, 2.0), (10, 9.0))
    ]
    assert operator.post("/predict", params=PUMP, json={"rows": rows[:1]}).status_code == 200
    told = operator.post("/predict", params=PUMP | {"store": "false"}, json={"rows": rows[1:]}).json()
    again = operator.post("/predict", params=PUMP | {"store": "false"}, json={"rows": rows[1:]}).json()
    assert told == again
    kept = operator.post("/predict", params=PUMP, json={"rows": rows[1:]}).json()
    assert told["predictions"][0]["probability"] == kept["predictions"][0]["probability"]
    assert stored(engine) == 2
    stranger = [row | {"pump": "P-99"} for row in rows[1:]]
    assert operator.post("/predict", params=PUMP | {"store": "false"}, json={"rows": stranger}).status_code == 200
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM machine WHERE name = 'P-99'")).scalar_one() == 0
