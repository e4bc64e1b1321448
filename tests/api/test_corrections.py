"""Bad rows that come back mended: checked at once, then the same road as any file, with their lineage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from appliance import corrections, names, pipeline
from appliance.client import Client
from appliance.errors import Conflict, FileRefused, Forbidden, NotFound, RequestError, RowsRefused, SettingError
from appliance.settings import Settings
from tests import profiles
from tests.api.conftest import People
from tests.api.test_journey import drop, lines
from tests.api.test_problems import assert_problem

CSV = {"content-type": "text/csv"}


@pytest.fixture
def box(settings: Settings, engine: Engine, address: Path, token: Callable[..., str]) -> pipeline.Box:
    scheduled = SecretStr(token("operator", "scheduled"))
    more = {"api_socket": address, "api_token": scheduled, "settle_seconds": 0.0}
    return pipeline.Box(settings.model_copy(update=more), engine)


@pytest.fixture
def api(address: Path, token: Callable[..., str]) -> Iterator[Client]:
    with Client(address, token("operator", name="olga")) as client:
        yield client


@pytest.fixture
def bad(box: pipeline.Box, api: Client) -> dict[str, Any]:
    """A file of which 4 rows out of 10 have a torque below 0."""
    drop(box.settings, "sh ift ä.csv", lines(10, bad=4))
    pipeline.ingest(box)
    (file,) = api.files()
    assert file["rows_bad"] == 4
    return file


def mended(api: Client, file_id: int, count: int = 9) -> bytes:
    """The bad rows as a spreadsheet gives them back: the first ``count`` put right."""
    return api.bad_rows(file_id).replace(b",-5,", b",41.5,", count)


def waiting(box: pipeline.Box) -> list[str]:
    folder = box.settings.raw / "milling" / "mill-1"
    return sorted(path.name for path in folder.iterdir())


def test_mended_rows_walk_the_road_and_know_where_they_came_from(
    box: pipeline.Box, api: Client, bad: dict[str, Any], people: People
) -> None:
    answer = api.correct(bad["id"], mended(api, bad["id"]))
    assert answer["rows"] == {"received": 4, "good": 4, "bad": 0}
    assert waiting(box) == [answer["name"]]
    assert answer["name"].startswith(f"sh_ift.mended-{bad['id']}-")
    assert api.corrections(bad["id"]) == []
    pipeline.ingest(box)
    pipeline.predict(box)
    (back,) = api.corrections(bad["id"])
    assert (back["mended_from"], back["rows_in"], back["rows_good"], back["state"]) == (bad["id"], 4, 4, "predicted")
    assert back["origin"] == "mill-1"
    found = list(api.predictions(file=back["id"]))
    assert {row["machine"] for row in found} == {"mill-1"}
    assert len(list(api.predictions(source="scheduled"))) == 10
    assert waiting(box) == []


def test_what_is_still_bad_is_told_at_once_and_can_be_mended_again(
    box: pipeline.Box, api: Client, bad: dict[str, Any]
) -> None:
    answer = api.correct(bad["id"], mended(api, bad["id"], 3))
    assert answer["rows"] == {"received": 4, "good": 3, "bad": 1}
    (refused,) = answer["rejected"]
    assert refused["row"] == 4
    assert "Torque" in refused["reasons"][0]
    pipeline.ingest(box)
    (back,) = api.corrections(bad["id"])
    assert (back["rows_good"], back["rows_bad"]) == (3, 1)
    again = api.correct(back["id"], mended(api, back["id"]))
    assert again["name"].count("mended") == 1
    pipeline.ingest(box)
    (last,) = api.corrections(back["id"])
    assert (last["mended_from"], last["rows_good"], last["rows_bad"]) == (back["id"], 1, 0)


def test_the_same_rows_sent_twice_are_one_file(box: pipeline.Box, api: Client, bad: dict[str, Any]) -> None:
    rows = mended(api, bad["id"])
    assert api.correct(bad["id"], rows)["name"] == api.correct(bad["id"], rows)["name"]
    assert len(waiting(box)) == 1
    pipeline.ingest(box)
    api.correct(bad["id"], rows)
    done = pipeline.ingest(box)
    assert (done.files, done.duplicates) == (0, 1)
    assert len(api.corrections(bad["id"])) == 1


def test_rows_that_nobody_mended_are_refused_with_their_reasons(
    box: pipeline.Box, api: Client, bad: dict[str, Any]
) -> None:
    with pytest.raises(RowsRefused) as refused:
        api.correct(bad["id"], api.bad_rows(bad["id"]))
    assert refused.value.message == "All 4 rows still break the contract."
    assert [row["row"] for row in refused.value.rows] == [1, 2, 3, 4]
    assert waiting(box) == []


def test_what_are_no_rows_of_this_file_is_refused(box: pipeline.Box, api: Client, bad: dict[str, Any]) -> None:
    drop(box.settings, "other.csv", lines(6, bad=2))
    pipeline.ingest(box)
    other = next(file["id"] for file in api.files() if file["name"] == "other.csv")
    for rows in (mended(api, other), lines(3).encode()):
        with pytest.raises(RequestError, match="not the bad rows of file"):
            api.correct(bad["id"], rows)
    for rows in (b"", b"PK\x03\x04zip", b"\xff\xfe\x00rubbish\x00", b"one,two\n1,2\n"):
        with pytest.raises(FileRefused):
            api.correct(bad["id"], rows)
    assert waiting(box) == []


def test_a_file_without_bad_rows_has_nothing_to_correct(box: pipeline.Box, api: Client) -> None:
    drop(box.settings, "fine.csv", lines(3))
    pipeline.ingest(box)
    (file,) = api.files()
    with pytest.raises(Conflict):
        api.correct(file["id"], lines(3).encode())
    with pytest.raises(NotFound):
        api.correct(10**9, b"x")
    with pytest.raises(NotFound):
        api.corrections(10**9)


def test_who_may_and_in_which_form(people: People, api: Client, bad: dict[str, Any]) -> None:
    where = f"/files/{bad['id']}/corrections"
    rows = mended(api, bad["id"])
    assert_problem(people("viewer").post(where, content=rows, headers=CSV), 403, "forbidden")
    assert_problem(people("operator").post(where, json={}), 415, "unsupported_media")
    assert_problem(people("operator").post(where, content=b"x" * (1 << 20) + b"x", headers=CSV), 413, "too_large")
    answer = people("operator").post(where, content=rows, headers=CSV)
    assert answer.status_code == 202
    assert people("viewer").get(where).status_code == 200
    with pytest.raises(Forbidden), Client(people.address, people.token("viewer", name="v")) as viewer:
        viewer.correct(bad["id"], rows)


def test_who_sent_them_is_noted(api: Client, bad: dict[str, Any], engine: Engine) -> None:
    from sqlalchemy import text

    answer = api.correct(bad["id"], mended(api, bad["id"]))
    with engine.connect() as connection:
        event = connection.execute(text("SELECT * FROM event WHERE kind = 'correction'")).mappings().one()
    assert event["message"] == f"olga sent 4 mended rows of file {bad['id']} (sh ift ä.csv)."
    assert event["details"]["file"] == bad["id"]
    assert event["details"]["sha256"][:8] in answer["name"]


def file_of(origin: str, name: str = "a.csv") -> dict[str, Any]:
    return {"id": 7, "name": name, "origin": origin, "rows_bad": 1, "profile": "milling"}


def test_the_folder_of_the_machine_comes_back_and_nobody_is_led_astray(tmp_path: Path) -> None:
    raw, mill = tmp_path / "raw", profiles.load("milling")
    raw.mkdir()
    name = corrections.put(raw, b"rows", file_of("mill-1"), mill)
    assert (raw / "milling" / "mill-1" / name).read_bytes() == b"rows"
    assert [path.name for path in (raw / "milling" / "mill-1").iterdir()] == [name]
    outside = tmp_path / "outside"
    outside.mkdir()
    (raw / "milling" / "mill-2").symlink_to(outside)
    with pytest.raises(Exception, match="drop folder"):
        corrections.put(raw, b"rows", file_of("mill-2"), mill)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "stem"),
    [
        ("shift.csv", "shift"),
        ("../../etc/passwd", "passwd"),
        (".hidden.csv", "hidden"),
        ("...", "rows"),
        ("ä" * 90 + ".csv", "_"),
        ("a\\x00b.parquet", "a_x00b"),
        ("x" * 190 + ".csv", "x" * 80),
        ("shift.mended-3-0123abcd.csv", "shift"),
    ],
)
def test_names_are_safe_whatever_the_machine_called_its_file(tmp_path: Path, given: str, stem: str) -> None:
    name = corrections.put(tmp_path, b"rows", file_of("mill-1", given), profiles.load("milling"))
    start = stem.strip("_") or "rows"
    assert name.startswith(f"{start}.mended-7-")
    assert name.endswith(".csv")
    assert names.name_fault(name) is None


def test_what_was_simulated_stays_so(tmp_path: Path) -> None:
    name = corrections.put(tmp_path, b"rows", file_of("demo-mill-1", "shift.csv"), profiles.load("milling"))
    assert names.is_demo(name)
    assert (tmp_path / "milling" / "demo-mill-1" / name).is_file()


def test_a_name_that_tells_the_machine_goes_on_telling_it(tmp_path: Path) -> None:
    source = 'from = "folder"'
    loose = profiles.changed("milling", source, 'from = "filename"\npattern = "^([A-Z]+-[0-9]+)"')
    name = corrections.put(tmp_path, b"rows", file_of("M-12", "M-12_0700.csv"), loose)
    assert (tmp_path / "milling" / name).is_file()
    strict = profiles.changed("milling", source, 'from = "filename"\npattern = "^([A-Z]+-[0-9]+).csv$"')
    with pytest.raises(Conflict, match="does not tell it"):
        corrections.put(tmp_path, b"rows", file_of("M-12", "M-12.csv"), strict)


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "milling" / "mill-1"
    folder.mkdir(parents=True)
    young, old, strange = (folder / f".{n}.part" for n in ("a.mended-1-x.csv.1", "b.mended-1-x.csv.2", "other"))
    for path in (young, old, strange):
        path.touch()
    for path in (old, strange):
        os.utime(path, (1, 1))
    corrections.put(tmp_path, b"rows", file_of("mill-1"), profiles.load("milling"))
    assert (young.exists(), old.exists(), strange.exists()) == (True, False, True)


def test_a_drop_folder_that_is_not_ours_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(SettingError) as said:
        corrections.put(tmp_path, b"rows", file_of("mill-1"), profiles.load("milling"))
    assert "raw_data" in said.value.way_out
    assert list((tmp_path / "milling" / "mill-1").iterdir()) == []


def test_parquet_alone_cannot_come_back_as_csv(box: pipeline.Box) -> None:
    profile = profiles.changed("milling", 'formats = ["csv", "parquet"]', 'formats = ["parquet"]')
    from datetime import UTC, datetime

    with pytest.raises(Conflict, match="takes no CSV"):
        corrections.check(b"", file_of("mill-1"), profile, datetime.now(UTC))


def test_what_rows_break_is_counted_over_all_files(box: pipeline.Box, api: Client, bad: dict[str, Any]) -> None:
    drop(box.settings, "later.csv", lines(8, bad=3))
    pipeline.ingest(box)
    newest = max(file["id"] for file in api.files())
    (total,) = api.issue_totals(profile="milling")
    assert (total["column"], total["rows"], total["files"], total["newest_file_id"]) == ("torque", 7, 2, newest)
    assert api.issue_totals(profile="pump") == []
    assert api.issue_totals(from_="2999-01-01") == []
    assert api.issue_totals(to=bad["arrived_at"]) == []
