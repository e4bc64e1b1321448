"""Files that people hand in: what is bad is told before anything is stored, and each good row is predicted once."""

from __future__ import annotations

import gzip
import io
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest
from sqlalchemy import Engine, text

from appliance import bundle, signing
from appliance.api import checking
from appliance.filecheck import folder as folders
from appliance.filecheck import reading
from appliance.settings import Settings
from tests import profiles, small_models
from tests.api.conftest import People, Shelf
from tests.api.test_problems import assert_problem

MILL = {"profile": "milling", "machine": "mill-1", "name": "shift.csv"}
CSV, PARQUET = {"content-type": "text/csv"}, {"content-type": "application/vnd.apache.parquet"}


def mill_csv(rows: int, seed: int = 1, spoilt: dict[int, str] | None = None) -> bytes:
    """A file as the mill writes it; ``spoilt`` rows (from 1) have that torque."""
    profile = profiles.load("milling")
    frame = small_models.rows(profile, rows, seed)
    frame = frame.with_columns(udi=pl.int_range(1, rows + 1), product_id=pl.format("M{}", 14860 + pl.int_range(rows)))
    columns = [c for c in profile.columns if c.required and c.name in frame.columns]
    table = frame.select(pl.col(c.name).cast(pl.String).alias(c.header) for c in columns)
    header = profile.column("torque").header
    cells = [(spoilt or {}).get(at + 1, value) for at, value in enumerate(table[header].to_list())]
    return table.with_columns(pl.Series(header, cells)).write_csv().encode()


def hand_in(client: httpx.Client, body: bytes, **query: Any) -> httpx.Response:
    return client.post("/file-checks", params={**MILL, **query}, content=body, headers=CSV)


def predicted(client: httpx.Client, check: dict[str, Any]) -> dict[str, Any]:
    for _ in range(100):
        if check["done"]:
            return check
        answer = client.post(f"/file-checks/{check['id']}/predict")
        assert answer.status_code == 200, answer.text
        check = answer.json()
    raise AssertionError("it does not end")


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM prediction")).scalar_one())


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts and more of a small file."""
    for module in (reading, checking):
        monkeypatch.setattr(module, "PART_ROWS", 40)
    monkeypatch.setattr(reading, "BATCH_ROWS", 30)


@pytest.fixture
def person(people: People) -> httpx.Client:
    return people("operator", "webapp")


def test_what_is_bad_comes_first_and_nothing_is_stored(person: httpx.Client, engine: Engine) -> None:
    answer = hand_in(person, mill_csv(50, spoilt={3: "much", 7: "999", 9: "=1+1"}))
    assert answer.status_code == 201, answer.text
    check = answer.json()
    assert check["rows"] == {"received": 50, "good": 47, "bad": 3}
    assert (check["name"], check["machine"], check["done"]) == ("shift.csv", "mill-1", False)
    assert {(issue["rule"], issue["column"], issue["count"]) for issue in check["issues"]} >= {("range", "torque", 1)}
    assert [row["row"] for row in check["rejected"]] == [3, 7, 9]
    assert all(row["reasons"] for row in check["rejected"])
    assert check["rejected"][1]["cells"]["Torque [Nm]"] == "999"
    bad = person.get(f"/file-checks/{check['id']}/bad")
    assert bad.headers["content-disposition"].startswith("attachment")
    table = pl.read_csv(bad.content, infer_schema=False)
    assert table["_row"].to_list() == ["3", "7", "9"]
    assert table["Torque [Nm]"].to_list() == ["much", "999", "'=1+1"]
    assert stored(engine) == 0
    assert_problem(person.get(f"/file-checks/{check['id']}/result"), 409, "conflict")


@pytest.mark.usefixtures("small_parts")
def test_good_rows_are_predicted_part_by_part_and_the_file_comes_back(person: httpx.Client, engine: Engine) -> None:
    check = hand_in(person, mill_csv(150, spoilt={3: "much", 60: "999"})).json()
    assert check["parts"] == 4
    seen = []
    while not check["done"]:
        check = person.post(f"/file-checks/{check['id']}/predict").json()
        seen.append(check["predicted"]["rows"])
    assert seen == [40, 80, 120, 148]
    assert stored(engine) == 148
    told = check["predicted"]
    bins = told["histogram"]
    assert sum(one["failing"] for one in bins) == told["failing"] > 0
    assert sum(one["passing"] + one["failing"] for one in bins) == 148
    assert sum(one["rows"] for one in told["modes"]) == told["failing"]

    listed = person.get(f"/file-checks/{check['id']}/rows", params={"limit": 1000}).json()["items"]
    assert len(listed) == 148
    assert [row["probability"] for row in listed] == sorted((row["probability"] for row in listed), reverse=True)
    for row in listed[:3]:
        kept = person.get(f"/predictions/{row['id']}").json()
        assert kept["probability"] == pytest.approx(row["probability"], abs=1e-6)
        assert (kept["source"], kept["machine"]) == ("webapp", "mill-1")
        assert {f["name"]: f["value"] for f in kept["features"]}["torque"] == pytest.approx(row["values"]["torque"])
    failing = person.get(f"/file-checks/{check['id']}/rows", params={"limit": 1000, "verdict": "failing"}).json()
    assert len(failing["items"]) == told["failing"]
    assert failing["items"][0]["reason"]
    rest = person.get(f"/file-checks/{check['id']}/rows", params={"limit": 10, "offset": 145}).json()["items"]
    assert rest == listed[145:]

    whole = person.get(f"/file-checks/{check['id']}/result").content
    table = pl.read_csv(whole, infer_schema=False)
    assert table.height == 150
    original = pl.read_csv(mill_csv(150, spoilt={3: "much", 60: "999"}), infer_schema=False)
    assert table.select(original.columns).equals(original)
    assert table.filter(pl.col("_probability").is_null())["_row"].to_list() == ["3", "60"]
    assert table.filter(pl.col("_rejected").is_not_null())["_row"].to_list() == ["3", "60"]
    by_row = {str(row["row"]): row for row in listed}
    for line in table.drop_nulls("_probability").to_dicts():
        assert float(line["_probability"]) == pytest.approx(by_row[line["_row"]]["probability"], abs=1e-6)
        assert int(line["_failing"]) == by_row[line["_row"]]["failing"]
    typed = pl.read_parquet(
        io.BytesIO(person.get(f"/file-checks/{check['id']}/result", params={"format": "parquet"}).content)
    )
    assert typed.height == 148
    assert typed.schema["Torque [Nm]"] == pl.Float64

    # What was given out is handed in again: our columns are made anew.
    again = predicted(person, hand_in(person, whole).json())
    assert again["rows"]["good"] == 148
    assert (
        pl.read_csv(person.get(f"/file-checks/{again['id']}/result").content, infer_schema=False).width == table.width
    )


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_comes_again_is_stored_once(person: httpx.Client, engine: Engine) -> None:
    body = mill_csv(100)
    first = hand_in(person, body).json()
    person.post(f"/file-checks/{first['id']}/predict")
    again = hand_in(person, body).json()
    assert again["id"] == first["id"]
    assert again["predicted"]["rows"] == 40
    done = predicted(person, again)
    assert stored(engine) == 100
    assert hand_in(person, body).json() == done
    assert person.post(f"/file-checks/{first['id']}/predict").json() == done
    assert stored(engine) == 100
    # For another machine it is another question.
    assert hand_in(person, body, machine="mill-2").json()["id"] != first["id"]


@pytest.mark.usefixtures("small_parts")
def test_a_kill_between_commit_and_note_stores_nothing_twice(
    person: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = hand_in(person, mill_csv(100)).json()
    write = folders.Folder.write_part
    with monkeypatch.context() as patch:

        def killed(*_: Any) -> None:
            raise RuntimeError("power cut")

        patch.setattr(folders.Folder, "write_part", killed)
        assert person.post(f"/file-checks/{check['id']}/predict").status_code == 500
    assert folders.Folder.write_part is write
    assert stored(engine) == 40
    done = predicted(person, check)
    assert (stored(engine), done["predicted"]["rows"]) == (100, 100)
    listed = person.get(f"/file-checks/{check['id']}/rows", params={"limit": 1000}).json()["items"]
    assert len({row["id"] for row in listed}) == 100


def test_windows_look_back_over_the_seam_of_two_parts(
    person: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profiles.load("pump")
    frame = small_models.rows(profile, 90, seed=4)
    zone = pl.col("measured_at").dt.convert_time_zone("Europe/Berlin").dt.strftime("%d.%m.%Y %H:%M:%S")
    columns = [c for c in profile.columns if c.required]
    table = frame.with_columns(measured_at=zone).select(
        pl.col(c.name).cast(pl.String).str.replace(".", ",", literal=True).alias(c.header)
        if c.numeric
        else pl.col(c.name).alias(c.header)
        for c in columns
    )
    body = table.write_csv(separator=";").encode("windows-1252")
    query = {"profile": "pump", "name": "pumps.csv"}

    def values(part: int) -> list[tuple[int, float]]:
        for module in (reading, checking):
            monkeypatch.setattr(module, "PART_ROWS", part)
        check = person.post("/file-checks", params=query, content=body, headers=CSV).json()
        assert check["rows"]["good"] == 90, check["issues"]
        check = predicted(person, check)
        items = person.get(f"/file-checks/{check['id']}/rows", params={"limit": 1000}).json()["items"]
        whole = person.get(f"/file-checks/{check['id']}/result").content.decode("utf-8-sig")
        assert whole.splitlines()[0].startswith("_row;Pumpe;Zeitpunkt;Medium;Temperatur [°C]")
        assert person.delete(f"/file-checks/{check['id']}").status_code == 204
        return sorted((row["row"], row["probability"]) for row in items)

    assert values(1000) == values(7)
    assert stored(engine) == 180


REFUSED = {
    "empty": b"",
    "only a header": b"UDI,Product ID\n",
    "a picture": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200),
    "packed": gzip.compress(b"a,b\n1,2\n"),
    "a workbook": b"PK\x03\x04" + bytes(100),
    "zeros": bytes(10_000),
    "no such columns": b"a,b\n" + b"1,2\n" * 10,
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_such_file_gets_one_sentence(person: httpx.Client, settings: Settings, what: str) -> None:
    answer = hand_in(person, REFUSED[what])
    if answer.status_code == 201:
        assert answer.json()["rows"]["good"] == 0
        assert answer.json()["done"] is True
    else:
        problem = assert_problem(answer, 422)
        assert problem["code"].startswith("file.")
        assert problem["detail"].count("\n") == 0
        assert list(settings.uploads.iterdir()) == []


def test_parquet_is_checked_alike(person: httpx.Client) -> None:
    frame = pl.read_csv(mill_csv(30, spoilt={4: "999"}))
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    check = person.post("/file-checks", params=MILL | {"name": "a.parquet"}, content=buffer.getvalue(), headers=PARQUET)
    assert check.json()["rows"] == {"received": 30, "good": 29, "bad": 1}
    done = predicted(person, check.json())
    table = pl.read_csv(person.get(f"/file-checks/{done['id']}/result").content, infer_schema=False)
    assert table.height == 30
    broken = buffer.getvalue()[:-50]
    assert_problem(person.post("/file-checks", params=MILL, content=broken, headers=PARQUET), 422, "file.format")


def test_who_handed_it_in_alone_sees_it(people: People, person: httpx.Client) -> None:
    check = hand_in(person, mill_csv(5)).json()
    other = people("engineer", "webapp")
    for method, path in (
        ("GET", ""),
        ("POST", "/predict"),
        ("GET", "/rows"),
        ("GET", "/bad"),
        ("GET", "/result"),
        ("DELETE", ""),
    ):
        assert_problem(other.request(method, f"/file-checks/{check['id']}{path}"), 404, "not_found")
    assert other.get("/file-checks").json() == {"items": []}
    assert [one["id"] for one in person.get("/file-checks").json()["items"]] == [check["id"]]
    assert_problem(hand_in(people("viewer"), mill_csv(5)), 403, "forbidden")
    assert_problem(person.get(f"/file-checks/{'0' * 32}"), 404, "not_found")
    assert person.delete(f"/file-checks/{check['id']}").status_code == 204
    assert_problem(person.get(f"/file-checks/{check['id']}"), 404, "not_found")


def test_a_model_that_changed_meanwhile_is_said(person: httpx.Client, settings: Settings, shelf: Shelf) -> None:
    check = hand_in(person, mill_csv(5)).json()
    bundle.activate(settings.models, "milling", shelf.milling[1], signing.trusted_keys(settings.keys))
    until = time.monotonic() + 20
    while person.get("/models", params={"profile": "milling"}).json() and time.monotonic() < until:
        if person.get("/profiles/milling").json()["model_version"] == shelf.milling[1]:
            break
        time.sleep(0.1)
    assert_problem(person.post(f"/file-checks/{check['id']}/predict"), 409, "conflict")
    again = hand_in(person, mill_csv(5)).json()
    assert again["id"] != check["id"]
    assert predicted(person, again)["predicted"]["rows"] == 5


def test_what_is_asked_wrongly_is_refused_before_the_file_is_taken(person: httpx.Client) -> None:
    assert_problem(person.post("/file-checks", params=MILL, json={}), 415, "unsupported_media")
    assert_problem(hand_in(person, b"x", profile="lathe"), 404, "not_found")
    assert_problem(hand_in(person, b"x", machine="-"), 400, "request")
    assert_problem(hand_in(person, bytes(2_000_000)), 413, "too_large")

    def pieces() -> Iterator[bytes]:
        yield from itertools.repeat(bytes(100_000), 20)

    answer = person.post("/file-checks", params=MILL, content=pieces(), headers=CSV)
    assert_problem(answer, 413, "too_large")


def test_old_ones_and_many_ones_go(person: httpx.Client, settings: Settings) -> None:
    ids = [hand_in(person, mill_csv(5, seed)).json()["id"] for seed in range(1, 6)]
    listed = person.get("/file-checks").json()["items"]
    assert [one["id"] for one in listed] == ids[: -folders.MOST_EACH - 1 : -1]
    assert listed[0]["rows"] == {"received": 5, "good": 5, "bad": 0}
    there = {path.name for path in settings.uploads.iterdir()}
    assert there == set(ids[-folders.MOST_EACH :])
    assert folders.sweep(settings.uploads) == 0
    assert folders.sweep(settings.uploads, time.time() + folders.KEEP_SECONDS + 60) == folders.MOST_EACH
    assert list(settings.uploads.iterdir()) == []


def test_the_client_knows_it(people: People, token: Callable[..., str]) -> None:
    from appliance.client import Client

    with Client(people.address, token("operator", "webapp", "screen")) as api:
        check = api.check_file(io.BytesIO(mill_csv(20)), name="a.csv", profile="milling", machine="mill-1")
        assert api.file_check(check["id"]) == check
        (listed,) = api.file_checks()
        assert (listed["id"], listed["name"], listed["predicted"]) == (check["id"], "a.csv", {"rows": 0, "failing": 0})
        while not check["done"]:
            check = api.predict_next(check["id"])
        assert len(api.file_check_rows(check["id"], limit=5)) == 5
        api.forget_file_check(check["id"])
