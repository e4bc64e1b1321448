"""Foreign bytes over HTTP end in the verdict that they get in the drop folder, and exports hold nothing that would run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from appliance import pipeline, scoring
from appliance.errors import FileRefused
from appliance.settings import Settings
from appliance.spreadsheet import is_formula
from tests.api.conftest import People
from tests.api.test_problems import assert_problem
from tests.hostile import FOREIGN, Foreign, cells

MEDIA = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
REFUSED = [case for case in FOREIGN if case.word]
# A spreadsheet would run each of them, the last two behind what some take for blanks.
FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "＝1+1", " =1+1", "\t=1+1"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_body_mb": 4, "settle_seconds": 0.0})


def asked(case: Foreign) -> dict[str, Any]:
    machine = {"machine": "mill-1"} if case.profile == "milling" else {}
    kind = {"content-type": MEDIA[Path(case.name).suffix]}
    return {"params": {"profile": case.profile, **machine}, "content": case.data, "headers": kind}


def test_each_file_that_is_handed_in_gets_the_same_verdict(operator: httpx.Client) -> None:
    for case in FOREIGN:
        answer = operator.post("/file-checks", **asked(case))
        if case.word:
            assert_problem(answer, 422, f"file.{case.word}")
            continue
        assert answer.status_code == 201, (case.what, answer.text)
        found, bad = answer.json(), sum(case.bad.values())
        assert found["rows"] == {"received": case.rows, "good": case.rows - bad, "bad": bad}, case.what
        assert {issue["rule"]: issue["count"] for issue in found["issues"] if issue["count"]} == case.bad, case.what


def test_each_body_that_is_to_be_predicted_gets_the_same_verdict(people: People) -> None:
    operator = people("operator")
    for case in REFUSED:
        assert_problem(operator.post("/predict", **asked(case)), 422, f"file.{case.word}")
    figures = people("viewer").get("/metrics").text
    for word in {case.word for case in REFUSED}:
        count = sum(case.word == word for case in REFUSED)
        assert f'appliance_files_refused_total{{reason="{word}"}} {count:.1f}' in figures


def test_each_file_that_is_scored_by_hand_gets_the_same_verdict(settings: Settings, tmp_path: Path) -> None:
    for case in REFUSED:
        path = tmp_path / case.name
        path.write_bytes(case.data)
        with pytest.raises(FileRefused) as refused:
            scoring.score_file(settings, path, profile=case.profile, folder=None, machine="", out=None)
        assert refused.value.reason == case.word, case.what


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\nb.csv", 'a";x="b.csv', "a\u202evsc.csv", "\\..\\b.csv", "ä" * 300]
)
def test_a_name_that_is_handed_in_is_shown_and_never_used(operator: httpx.Client, name: str) -> None:
    one = asked(Foreign("", cells(6, "-5")))
    answer = operator.post("/file-checks", **{**one, "params": {**one["params"], "name": name}})
    assert answer.status_code == 201
    check = answer.json()
    assert check["name"].isprintable()
    saved = operator.get(f"/file-checks/{check['id']}/bad").headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename\*=UTF-8''[A-Za-z0-9._%~-]+", saved)
    assert_problem(
        operator.post("/file-checks", **{**one, "params": {**one["params"], "name": "x" * 301}}), 400, "request"
    )


def test_corrections_get_the_same_verdict(road: pipeline.Box, operator: httpx.Client) -> None:
    number = dropped(road, cells(6, "-5"))
    for case in REFUSED:
        if case.profile == "milling" and case.name.endswith(".csv"):
            answer = operator.post(
                f"/files/{number}/corrections", content=case.data, headers={"content-type": "text/csv"}
            )
            assert_problem(answer, 422, f"file.{case.word}")


@pytest.fixture
def road(settings: Settings, engine: Engine, address: Path, token: Callable[..., str]) -> pipeline.Box:
    more = {"api_socket": address, "api_token": SecretStr(token("operator", "scheduled"))}
    return pipeline.Box(settings.model_copy(update=more), engine)


def dropped(box: pipeline.Box, data: bytes, machine: str = "mill-1") -> int:
    """Walk the road with a file; its number."""
    folder = box.settings.raw / "milling" / machine
    folder.mkdir(parents=True)
    (folder / "a.csv").write_bytes(data)
    done = pipeline.ingest(box)
    pipeline.predict(box)
    [number] = done.file_ids
    return number


def spiked() -> bytes:
    """Formulas where a stranger can put them: in cells of known columns, and in heads and cells of unknown ones."""
    quoted = [f'"{formula}"' for formula in FORMULAS]
    lines = cells(1, *quoted).decode().splitlines()
    tail = [*quoted, *quoted, *quoted]
    return "".join(
        f'{line},"{formula[1:-1]}"\n' for line, formula in zip(lines, ['"=head()"', *tail], strict=False)
    ).encode()


def assert_inert(text: str, *, holds: str = "") -> None:
    assert holds in text
    for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"))):
        for cell in row:
            assert not is_formula(cell), row


def test_no_export_holds_a_cell_that_a_spreadsheet_would_run(
    road: pipeline.Box, people: People, operator: httpx.Client, tmp_path: Path
) -> None:
    data, machine = spiked(), "=1+1"
    number = dropped(road, data, machine)
    assert_inert(operator.get(f"/files/{number}/bad").text, holds="'=1+1")
    exported = people("viewer").get("/predictions/export", params={"profile": "milling", "readings": "true"}).text
    assert_inert(exported, holds=",'=1+1,")

    one = asked(Foreign("", data))
    one["params"]["machine"] = machine
    check = operator.post("/file-checks", **one).json()
    while not check["done"]:
        check = operator.post(f"/file-checks/{check['id']}/predict").json()
    assert_inert(operator.get(f"/file-checks/{check['id']}/bad").text, holds="'=1+1")
    assert_inert(operator.get(f"/file-checks/{check['id']}/result").text, holds="'=head()")

    one["headers"]["accept"] = "text/csv"
    answer = operator.post("/predict", **one)
    assert answer.status_code == 200
    assert_inert(answer.text)

    (tmp_path / "a.csv").write_bytes(data)
    with (tmp_path / "scored.csv").open("w+") as out:
        scoring.score_file(road.settings, tmp_path / "a.csv", profile="milling", folder=None, machine=machine, out=out)
        out.seek(0)
        assert_inert(out.read(), holds="probability")


def test_what_is_inert_comes_back_as_it_was(road: pipeline.Box, operator: httpx.Client) -> None:
    """Text as it is in the file: what a person mends in between is a cell, not ours."""
    number = dropped(road, spiked())
    back = operator.get(f"/files/{number}/bad").content
    assert_problem(
        operator.post(f"/files/{number}/corrections", content=back, headers={"content-type": "text/csv"}), 422, "rows"
    )
