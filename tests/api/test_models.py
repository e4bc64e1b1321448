"""Which model serves, and that nobody notices when another takes over."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from appliance import bundle, signing
from appliance.api import schema
from appliance.api.app import create_app
from appliance.settings import Settings
from tests import profiles
from tests.api.conftest import People, Shelf, browser, running
from tests.api.test_problems import assert_problem

ROW: dict[str, Any] = schema.example_row(profiles.load("milling"))
MILL = {"profile": "milling"}
BODY = {"rows": [ROW], "machine": "mill-1"}


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_the_list_shows_versions_figures_and_who_serves(people: People, shelf: Shelf) -> None:
    items = people("viewer").get("/models").json()["items"]
    assert {(item["profile"], item["version"]) for item in items} == {
        *(("milling", version) for version in shelf.milling),
        ("pump", shelf.pump),
    }
    by_version = {item["version"]: item for item in items}
    first = by_version[shelf.milling[0]]
    assert (first["active"], first["serving"], first["problem"]) == (True, True, None)
    assert first["card"]["at_threshold"]["recall"] is not None
    assert first["activated_at"] is not None
    assert by_version[shelf.milling[1]]["active"] is False
    only = people("viewer").get("/models", params={"profile": "pump"}).json()["items"]
    assert [item["version"] for item in only] == [shelf.pump]


def test_activate_and_roll_back(people: People, shelf: Shelf, engine: Engine) -> None:
    engineer, (first, second) = people("engineer"), shelf.milling

    def serving() -> str:
        version: str = engineer.post("/predict", params=MILL, json=BODY).json()["model_version"]
        return version

    answer = engineer.post(f"/models/{second}/activate", params=MILL)
    assert answer.json() == {"profile": "milling", "version": second, "active": True}
    assert serving() == second
    assert engineer.post("/models/rollback", params=MILL).json()["version"] == first
    assert serving() == first
    assert_problem(engineer.post("/models/rollback", params=MILL), 422, "bundle.missing")
    assert_problem(engineer.post("/models/20990101-000000000000/activate", params=MILL), 404, "not_found")
    assert_problem(engineer.post(f"/models/{second}/activate", params={"profile": "pump"}), 404, "not_found")
    assert_problem(engineer.post(f"/models/{second}/activate", params={"profile": "../keys"}), 404, "not_found")
    assert_problem(engineer.post(f"/models/{second}/activate"), 400, "request")
    assert serving() == first
    with engine.connect() as connection:
        said = connection.execute(text("SELECT message FROM event WHERE kind = 'model_active' ORDER BY id")).scalars()
        assert [second in message for message in said] == [True, False]


def test_a_spoiled_model_is_refused_and_the_one_before_serves_on(
    people: People, shelf: Shelf, settings: Settings
) -> None:
    engineer, (first, second) = people("engineer"), shelf.milling
    model = settings.models / "milling" / second / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    problem = assert_problem(engineer.post(f"/models/{second}/activate", params=MILL), 422)
    assert problem["code"].startswith("bundle.")
    # Pointed at by hand, it is refused all the same.
    (settings.models / "milling" / "active").write_text(second)
    eventually(lambda: any(f["name"] == "model" for f in people("viewer").get("/health/faults").json()["items"]))
    assert engineer.post("/predict", params=MILL, json=BODY).json()["model_version"] == first
    ready = people.nobody.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["ready"] is True
    (listed,) = [i for i in people("viewer").get("/models").json()["items"] if i["version"] == second]
    assert listed["problem"]


def test_no_request_fails_while_models_change(people: People, shelf: Shelf, settings: Settings) -> None:
    operator, keys = people("operator"), signing.trusted_keys(settings.keys)
    last: list[str] = [""]
    failed: list[httpx.Response] = []
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            response = operator.post("/predict", params=MILL, json=BODY)
            if response.status_code == 200:
                last[0] = response.json()["model_version"]
            else:
                failed.append(response)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in (shelf.milling[1], shelf.milling[0], shelf.milling[1]):
            # Another process moves the pointer; the API sees it by itself.
            bundle.activate(settings.models, "milling", version, keys)
            eventually(partial(_serves, last, version))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_each_answer_is_wholly_of_one_version(people: People, shelf: Shelf, engine: Engine) -> None:
    """While models change: single rows, many, files, and such as are not stored; answered, and stored, by the one named."""
    operator, engineer = people("operator"), people("engineer")
    rows = [ROW | {"torque": 20.0 + 4 * n, "tool_wear": 18 * n} for n in range(13)]
    single, many = {"rows": rows[9:10], "machine": "mill-1"}, {"rows": rows, "machine": "mill-2"}
    csv = "\n".join([schema.example_csv(profiles.load("milling")).splitlines()[0], *map(_line, range(13))])
    as_file = {"content": csv.encode(), "headers": {"content-type": "text/csv", "accept": "application/json"}}
    asks: dict[str, dict[str, Any]] = {
        "single": {"params": MILL, "json": single},
        "many": {"params": MILL, "json": many},
        "tried": {"params": MILL | {"store": "false"}, "json": many},
        "file": {"params": MILL | {"machine": "mill-3"}, **as_file},
    }

    def ask(kind: str) -> tuple[str, str, list[tuple[float, Any]], list[int]]:
        response = operator.post("/predict", **asks[kind])
        assert response.status_code == 200, response.text
        told = response.json()
        said = [(one["probability"], one["modes"]) for one in told["predictions"]]
        return kind, told["model_version"], said, [one["id"] for one in told["predictions"]]

    def activate(version: str) -> None:
        assert engineer.post(f"/models/{version}/activate", params=MILL).status_code == 200

    wanted = {}
    for version in shelf.milling:
        activate(version)
        wanted |= {(kind, version): ask(kind)[2] for kind in asks}
    assert all(wanted[kind, shelf.milling[0]] != wanted[kind, shelf.milling[1]] for kind in asks)
    stop = threading.Event()

    def send(kind: str) -> list[tuple[str, str, list[tuple[float, Any]], list[int]]]:
        answers = []
        while not stop.is_set():
            answers.append(ask(kind))
        return answers

    with ThreadPoolExecutor(2 * len(asks)) as pool:
        sending = [pool.submit(send, kind) for kind in (*asks, *asks)]
        try:
            for _ in range(4):
                for version in shelf.milling:
                    activate(version)
                    time.sleep(0.1)
        finally:
            stop.set()
        answers = [answer for one in sending for answer in one.result()]
    assert {version for _, version, _, _ in answers} == set(shelf.milling)
    query = text("SELECT p.id, m.version, p.probability FROM prediction p JOIN model m ON m.id = p.model_id")
    with engine.connect() as connection:
        stored = {row.id: (row.version, pytest.approx(row.probability, abs=1e-6)) for row in connection.execute(query)}
    for kind, version, said, ids in answers:
        assert said == wanted[kind, version], kind
        if kind != "tried":
            assert [(version, probability) for probability, _ in said] == [stored[id_] for id_ in ids]


def _line(number: int) -> str:
    return f"{number},L{number:05d},L,298.1,308.6,1551,{21 + 4 * number},{17 * number}"


def _serves(last: list[str], version: str) -> bool:
    return last == [version]


def test_a_box_without_a_model_says_so_and_serves_once_it_has_one(
    people: People, settings: Settings, shelf: Shelf, engine: Engine, tmp_path: Path
) -> None:
    bare = settings.model_copy(update={"data_dir": tmp_path / "bare"})
    token = people.token("engineer", name="smith")
    with running(create_app(bare, engine), tmp_path / "bare.sock") as address, browser(address, token) as client:
        assert_problem(client.post("/predict", json=BODY), 503, "not_ready")
        assert_problem(client.get("/health/nothing"), 404, "not_found")
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert [fault["name"] for fault in ready.json()["faults"] if fault["severity"] == "fault"] == ["model"]
        assert client.get("/profiles").json()["items"] == []
        assert client.get("/openapi.json").status_code == 200
        shutil.copytree(shelf.folder, bare.data_dir)
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert [p["name"] for p in client.get("/profiles").json()["items"]] == ["milling", "pump"]
        assert "PumpRows" in client.get("/openapi.json").json()["components"]["schemas"]


@pytest.mark.parametrize("name", ["milling", "pump"])
def test_a_profile_tells_all_that_a_form_needs(still: People, name: str) -> None:
    profile = profiles.load(name)
    told = still("viewer").get(f"/profiles/{name}").json()
    assert [column["name"] for column in told["columns"]] == [column.name for column in profile.columns]
    assert told["threshold"] == profile.threshold
    assert tuple(told["matrix_names"]) == profile.matrix_names
    assert told["words"]["failing"] == profile.words.failing
    assert told["takes_machine"] == (name == "milling")
    assert told["hash"] == profile.hash()
    answer = still("viewer").get("/profiles").json()["items"]
    assert {one["name"] for one in answer} == {"milling", "pump"}


def test_the_card_and_its_plots_come_out_of_the_signed_bundle(still: People, shelf: Shelf) -> None:
    viewer, version = still("viewer"), shelf.milling[0]
    card = viewer.get(f"/models/{version}/card", params=MILL)
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"
    assert card.text.startswith("#")
    assert version in card.text
    for plot in ("precision_recall", "calibration", "importance"):
        picture = viewer.get(f"/models/{version}/plots/{plot}", params=MILL)
        assert picture.headers["content-type"] == "image/png"
        assert picture.content.startswith(b"\x89PNG")
    assert viewer.get(f"/models/{version}/card").text == card.text, "a version tells its profile"
    assert_problem(viewer.get(f"/models/{version}/plots/other", params=MILL), 404, "not_found")
    assert_problem(viewer.get("/models/20990101-000000000000/card", params=MILL), 404, "not_found")
    assert_problem(viewer.get(f"/models/{version}/card", params={"profile": "../keys"}), 404, "not_found")


def test_a_plot_that_was_changed_on_the_disk_is_not_shown(people: People, shelf: Shelf, settings: Settings) -> None:
    version = shelf.milling[0]
    (settings.models / "milling" / version / "importance.png").write_bytes(b"something else")
    response = people("viewer").get(f"/models/{version}/plots/importance", params=MILL)
    assert response.status_code == 422
    assert response.json()["code"].startswith("bundle.")
