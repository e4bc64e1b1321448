"""Good rows and bad rows on disk: whole or not at all, and mended rows come back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import outputs
from appliance import profile as profiles_module
from appliance.outputs import BadWriter, GoodWriter, good_metadata, read_part
from appliance.profile import Profile
from appliance.quality import Checker
from appliance.reader import open_file
from appliance.spreadsheet import inert, inert_cells, is_formula, original, original_cells
from tests import counts, profiles
from tests.unit.quality.made import NOW, one_column

PUMP = profiles.load("pump")


def frames(count: int, rows: int) -> list[pl.DataFrame]:
    return [
        pl.DataFrame({"_row": range(n * rows + 1, n * rows + rows + 1), "text": [f"ä{n}"] * rows}) for n in range(count)
    ]


def test_batches_become_one_file_that_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "GROUP_ROWS", 40)
    path = tmp_path / "good" / "deep" / "17.parquet"
    with GoodWriter(path, PUMP, "abc", tmp_path / "work") as writer:
        for frame in frames(12, 25):
            writer.append(frame)
            assert not path.exists()
        assert writer.commit() == 300
    whole = pl.concat(frames(12, 25))
    assert pl.read_parquet(path).equals(whole)
    for first, rows in ((0, 300), (0, 1), (99, 101), (299, 1), (290, 100)):
        assert read_part(path, first, rows).equals(whole[first : first + rows])
    assert good_metadata(path)["contract_hash"] == "abc"
    assert good_metadata(path)["profile"] == "pump"
    assert json.loads(good_metadata(path)["units"])["temperature"] == "°C"
    assert list(tmp_path.rglob("*")) == [p for p in tmp_path.rglob("*") if p.is_dir() or p == path]


@pytest.mark.parametrize("rows", [0, 3])
def test_what_is_not_committed_leaves_nothing(tmp_path: Path, rows: int) -> None:
    frame = frames(1, 3)[0].head(rows)
    bad = frame.with_columns(pl.lit("why").alias("_reasons"), pl.lit(None, pl.String).alias("_mend"))
    with (
        GoodWriter(tmp_path / "g.parquet", PUMP, "x", tmp_path / "work") as good,
        BadWriter(tmp_path / "b.csv", PUMP, ["text"], "17") as worse,
    ):
        good.append(frame)
        worse.append(bad)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_rows_there_is_no_file(tmp_path: Path) -> None:
    with (
        GoodWriter(tmp_path / "g.parquet", PUMP, "x", tmp_path / "work") as good,
        BadWriter(tmp_path / "b.csv", PUMP, [], "1") as bad,
    ):
        assert (good.commit(), bad.commit()) == (0, 0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_pass_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    (tmp_path / ".b.csv.tmp").write_text("half of an old")
    path.write_text("the old one")
    bad = pl.DataFrame(
        {"text": ["x"], "_row": [3], "_mend": [None], "_reasons": ["why"]}, schema_overrides={"_mend": pl.String}
    )
    with BadWriter(path, PUMP, ["text"], "17") as writer:
        writer.append(bad)
        writer.commit()
    assert path.read_text("utf-8-sig").splitlines() == ["text;_row;_reasons;_mend;_file", "x;3;why;;17"]
    assert [p.name for p in tmp_path.iterdir()] == ["b.csv"]


def journey(
    folder: Path, data: bytes, profile: Profile, name: str = "drop.csv", file_id: str = "17"
) -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    """Drop a file; good rows, bad rows and the reader, with the bad CSV at ``bad.csv``."""
    dropped = folder / name
    dropped.write_bytes(data)
    good, bad = [], []
    (folder / "bad.csv").unlink(missing_ok=True)
    with open_file(dropped, "csv", profile, batch_rows=3) as reader:
        checker = Checker(profile, reader.header, "M1", NOW)
        with BadWriter(folder / "bad.csv", profile, reader.header, file_id) as writer:
            for batch in reader:
                checked = checker.check(batch)
                good.append(checked.good)
                bad.append(checked.bad)
                writer.append(checked.bad)
            writer.commit()
    return pl.concat(good), pl.concat(bad), reader


HEAD = "Pumpe;Zeitpunkt;Medium;Temperatur;Schwingung [mm/s];Druck [bar];=Notiz"
ROWS = [
    "P-01;01.03.2026 08:00:00;water;61,5;2,4;6,1;fine",
    "P-01;01.03.2026 08:10:00;water;61,5;-2,4;6,1;=HYPERLINK(1)",
    'P-01;01.03.2026 08:20:00;wäter;61,5;2,4;6,1;"a;""b""\nc"',
    "P-01;01.03.2026 08:30:00;water;61,5;2,4;6,1;x;y;z",
    "P-01;01.03.2026 08:40:00;water",
    "P-01;01.03.2026 08:50:00;€\x81;61,5;2,4;6,1;'=x",
    "P-01;01.03.2026 09:00:00;+fluid;61,5;2,4;6,1;-7,5",
]
DATA = "\n".join([HEAD, *ROWS, ""]).encode("latin-1", "xmlcharrefreplace").replace(b"&#8364;", b"\x80")


def test_a_bad_file_keeps_the_cells_and_opens_safely(tmp_path: Path) -> None:
    _, bad, _ = journey(tmp_path, DATA, PUMP)
    raw = (tmp_path / "bad.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    lines = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert [line["_row"] for line in lines] == ["2", "3", "4", "5", "6", "7"]
    assert {line["_file"] for line in lines} == {"17"}
    assert lines[0]["'=Notiz"] == "'=HYPERLINK(1)"
    assert lines[0]["Schwingung [mm/s]"] == "-2,4"  # a signed number is no formula
    assert lines[0]["_reasons"] == "Schwingung [mm/s]: outside of 0 to 60 mm/s"
    assert lines[1]["'=Notiz"] == 'a;"b"\nc'
    assert lines[2]["_mend"] == "too many cells: y;z"
    assert lines[3]["_mend"] == "3 of 7 cells"
    assert lines[4]["Medium"] == "€\ufffd"
    assert lines[5]["Medium"] == "'+fluid"
    assert not any(is_formula(cell) for line in lines for cell in line.values())
    assert bad["_row"].to_list() == [2, 3, 4, 5, 6, 7]


def test_a_bad_file_that_comes_back_unmended_is_as_bad_as_before(tmp_path: Path) -> None:
    _, bad, first = journey(tmp_path, DATA, PUMP)
    again, still, reader = journey(tmp_path, (tmp_path / "bad.csv").read_bytes(), PUMP)
    assert again.height == 0
    assert reader.mended
    assert not first.mended
    assert reader.corrects == {"17"}
    assert reader.header == first.header
    assert still.select(first.header).equals(bad.select(first.header))
    assert still["_mend"].to_list() == bad["_mend"].to_list()
    assert "_mend is not empty" in still["_reasons"][2]


def test_mended_rows_come_back_good_with_their_lineage(tmp_path: Path) -> None:
    journey(tmp_path, DATA, PUMP)
    text = (tmp_path / "bad.csv").read_text("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
    head, table = lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    for row in table:
        row |= {"Medium": "water", "Temperatur": "61,5", "Schwingung [mm/s]": "2,4", "Druck [bar]": "6,1", "_mend": ""}
    target = io.StringIO()
    writer = csv.DictWriter(target, head, delimiter=";")
    writer.writeheader()
    writer.writerows(table)
    for encoded in (target.getvalue().encode("utf-8-sig"), target.getvalue().encode("windows-1252", "replace")):
        good, bad, reader = journey(tmp_path, encoded, PUMP, file_id="18")
        assert (good.height, bad.height) == (6, 0)
        assert reader.corrects == {"17"}


def test_rows_that_nobody_named_a_file_for_correct_none(tmp_path: Path) -> None:
    data = f"{HEAD};_file\n{ROWS[0]};../../etc\n{ROWS[0]};{'9' * 99}\n{ROWS[0]};a b\n".encode("latin-1")
    assert journey(tmp_path, data, PUMP)[2].corrects == frozenset()


@pytest.mark.parametrize("separator", [",", ";", "\t", "§"])
@given(
    table=st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\0\x1f", codec="utf-8"), max_size=8)] * 2),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=counts.examples(60))
def test_any_cell_goes_out_and_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, separator: str, table: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    profile = one_column(type="text", nullable=True, file={"separator": separator})
    bad = pl.DataFrame(
        {
            "X": [a or None for a, _ in table],
            "Other": [b or None for _, b in table],
            "_row": range(1, len(table) + 1),
            "_reasons": "why",
            "_mend": "x",
        },
        schema_overrides={"X": pl.String, "Other": pl.String},
    )
    with BadWriter(folder / "any.csv", profile, ["X", "Other"], "17") as writer:
        writer.append(bad)
        writer.commit()
    with open_file(folder / "any.csv", "csv", profile) as reader:
        back = pl.concat([batch.frame for batch in reader])
    assert back.equals(bad.select("X", "Other", "_row"))


@given(
    cells=st.lists(
        st.text(st.one_of(st.sampled_from("'=+-@\t\r 1.,eE＝"), st.characters(codec="utf-8")), max_size=6), min_size=1
    )
)
@settings(max_examples=counts.examples(300))
def test_an_inert_cell_is_no_formula_and_is_taken_back_exactly(cells: list[str]) -> None:
    for cell in cells:
        assert not is_formula(inert(cell))
        assert original(inert(cell)) == cell
        assert inert(cell) == cell or is_formula(cell.lstrip("'"))
    frame = pl.DataFrame({"c": cells})
    assert frame.select(inert_cells("c"))["c"].to_list() == [inert(cell) for cell in cells]
    assert frame.select(original_cells("c"))["c"].to_list() == [original(cell) for cell in cells]


def test_bad_rows_of_a_parquet_are_written_as_the_profile_writes(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    frame = pl.DataFrame(
        {"Pumpe": ["P-01"], "Zeitpunkt": [datetime(2026, 7, 1, 6, tzinfo=UTC)], "Medium": ["beer"], "Temperatur": [61.5],
         "vibration": [2.0], "pressure": [6.25]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "in.parquet")
    with open_file(tmp_path / "in.parquet", "parquet", PUMP) as reader:
        checked = Checker(PUMP, reader.header, "", NOW).check(next(iter(reader)))
        with BadWriter(tmp_path / "bad.csv", PUMP, reader.header, "5") as writer:
            writer.append(checked.bad)
            writer.commit()
    text = (tmp_path / "bad.csv").read_bytes().replace(b"beer", b"water")
    good, bad, _ = journey(tmp_path, text, PUMP)
    assert bad.height == 0
    assert good.select("_time", "temperature", "pressure").rows() == [(datetime(2026, 7, 1, 6, tzinfo=UTC), 61.5, 6.25)]


def test_a_separator_beyond_ascii_goes_round(tmp_path: Path) -> None:
    profile = profiles_module.parse(profiles.text("pump").replace('separator = ";"', 'separator = "§"'))
    data = DATA.decode("latin-1").replace(";", "§").encode("latin-1")
    journey(tmp_path, data, profile)
    assert journey(tmp_path, (tmp_path / "bad.csv").read_bytes(), profile)[2].corrects == {"17"}


@pytest.mark.parametrize(
    ("back", "read"),
    [
        ("01.03.2026 08:10:05", "01.03.2026 08:10:05"),
        ("01.03.2026 08:10", "01.03.2026 08:10:05"),  # as Excel shows it
        (" 01.03.2026 08:10 ", "01.03.2026 08:10:05"),
        ("01.03.2026 08:11", None),  # what a person changed is not ours to complete
        ("01.03.2026 08:1", None),
        ("01.03.2026", None),
        ("", None),
    ],
)
def test_a_time_that_a_spreadsheet_cut_is_whole_again(tmp_path: Path, back: str, read: str | None) -> None:
    row = "P-01;01.03.2026 08:10:05;water;61,5;-2,4;6,1"
    journey(tmp_path, f"{HEAD.removesuffix(';=Notiz')}\n{row}\n".encode("windows-1252"), PUMP)
    text = (tmp_path / "bad.csv").read_text("utf-8-sig")
    assert text.splitlines()[1].endswith(";at 01.03.2026 08:10:05;17")
    text = text.replace(";01.03.2026 08:10:05;", f";{back};").replace("-2,4", "2,4")
    good, bad, reader = journey(tmp_path, text.encode("utf-8-sig"), PUMP)
    assert reader.header == HEAD.split(";")[:-1]
    assert (good.height, bad.height) == ((1, 0) if read else (0, 1))
    if read:
        assert good["measured_at"].dt.convert_time_zone("Europe/Berlin").dt.strftime("%d.%m.%Y %H:%M:%S").to_list() == [
            read
        ]


def test_files_whose_rows_name_no_time_keep_none(tmp_path: Path) -> None:
    journey(tmp_path, b"vibration\n-1\n", PUMP)
    assert (tmp_path / "bad.csv").read_text("utf-8-sig").splitlines()[0] == "vibration;_row;_reasons;_mend;_file"
