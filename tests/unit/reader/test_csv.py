"""Rows of a CSV: told apart exactly, whatever is in them and wherever a block ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import decoding, lines
from appliance.batches import CUT_OFF, TOO_FEW, TOO_MANY, UNSOUND, WHOLE
from appliance.errors import FileRefused
from appliance.profile import Profile
from appliance.reader import read_bytes
from tests import counts
from tests.unit.reader.rows import cells, refusal, rows, rows_of_file, text_profile

PLAIN = text_profile()
HEAD = b"a,b,c,reading\n"
REASONS = {"compressed", "duplicate_column", "empty", "encoding", "format", "header", "no_rows", "nul_bytes", "quotes"}


def test_cells_come_as_they_are_written() -> None:
    assert cells(HEAD + b" x ,1_0,#y,'z\n\t,=1,\xc3\xa4,0x1\n", PLAIN) == [
        (" x ", "1_0", "#y", "'z"),
        ("\t", "=1", "ä", "0x1"),
    ]


@pytest.mark.parametrize("magic", ["x\x01", "x^", "x\x9c", "\ufeff", "BZh9", "PAR1", "\x1f\x8b", "(\xb5/\xfd"])
def test_the_first_bytes_of_a_batch_are_nothing_but_a_cell(magic: str) -> None:
    data = HEAD + "".join(f"{magic}{n},2,3,4\n" for n in range(4)).encode()
    for batch_rows in (1, 3, 10):
        assert [row[0] for row in cells(data, PLAIN, batch_rows=batch_rows)] == [f"{magic}{n}" for n in range(4)]


def test_an_empty_cell_is_missing_quoted_or_not() -> None:
    assert cells(HEAD + b',"",c,\n', PLAIN) == [(None, None, "c", None)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_taken(end: str) -> None:
    text = end.join(["a,b,c,reading", "1,2,3,4", "", '"5",6,7,8', ""])
    assert cells(text.encode(), PLAIN) == [("1", "2", "3", "4"), ("5", "6", "7", "8")]


def test_blank_lines_are_no_rows_and_numbers_count_rows() -> None:
    found = rows(b"\n\n" + HEAD + b"\n1,2,3,4\n\n\r\n5,6\n\n7,8,9,0\n", PLAIN)
    assert [(row.number, row.damage) for row in found] == [(1, WHOLE), (2, TOO_FEW), (3, WHOLE)]


@pytest.mark.parametrize(
    ("line", "damage", "mend"),
    [
        (b"1,2,3", TOO_FEW, "3 of 4 cells"),
        (b"1", TOO_FEW, "1 of 4 cells"),
        (b"1,2,3,4,5,6", TOO_MANY, "too many cells: 5,6"),
        (b'1,"2",3,4,"5"', TOO_MANY, "too many cells: 5"),
        (b"1,2\r3,3,4", UNSOUND, "quotes or line end"),
        (b'1,"2"x,3,4', UNSOUND, "quotes or line end"),
        (b'1,"2,3,4', UNSOUND, "quotes or line end"),
    ],
)
def test_a_damaged_row_is_found_alone_and_keeps_its_cells(line: bytes, damage: int, mend: str) -> None:
    before, found, after = rows(HEAD + b"k,l,m,n\n" + line + b"\no,p,q,r\n", PLAIN)
    assert (before.cells, before.damage) == (("k", "l", "m", "n"), WHOLE)
    assert (after.cells, after.damage, after.number) == (("o", "p", "q", "r"), WHOLE, 3)
    assert (found.damage, found.mend) == (damage, mend)
    assert found.cells[0] == "1"


def test_quoted_cells_hold_separators_quotes_and_line_ends() -> None:
    data = HEAD + b'"1,1","say ""hi""","two\r\nlines",4\n5,12" pipe,7,8\n'
    assert cells(data, PLAIN) == [("1,1", 'say "hi"', "two\r\nlines", "4"), ("5", '12" pipe', "7", "8")]


@pytest.mark.parametrize("last", [b"5,6,7,8", b"5,6", b'5,"6', b'5,"6","7\n8",9', b"5,6,7,8,9"])
def test_a_last_line_without_an_end_is_cut_off_where_lines_always_end(tmp_path: Path, last: bytes) -> None:
    careful = text_profile(ends_with_newline=True)
    found = rows_of_file(tmp_path / "cut.csv", HEAD + b"1,2,3,4\n" + last, careful)
    assert [row.damage for row in found] == [WHOLE, CUT_OFF]
    assert found[-1].mend is not None
    assert found[-1].mend.startswith("cut off")


@pytest.mark.parametrize(("profile", "end"), [(PLAIN, b""), (text_profile(ends_with_newline=True), b"\n")])
def test_a_whole_last_line_is_a_row(tmp_path: Path, profile: Profile, end: bytes) -> None:
    found = rows_of_file(tmp_path / "whole.csv", HEAD + b"1,2,3,4\n5,6,7,8" + end, profile)
    assert [row.damage for row in found] == [WHOLE, WHOLE]


def test_a_body_has_no_end_that_could_be_cut_off() -> None:
    assert len(cells(HEAD + b"1,2,3,4", text_profile(ends_with_newline=True))) == 1


@pytest.mark.parametrize("separator", [";", "\t", "|", " ", "§"])
def test_any_separator_of_a_profile_is_taken(separator: str) -> None:
    text = separator.join("abc") + separator + "reading\n" + separator.join(['"x;|\t §"', "ö", "", "4"]) + "\n"
    assert cells(text.encode(), text_profile(separator=separator)) == [("x;|\t §", "ö", None, "4")]


def test_a_long_line_is_refused_before_it_is_held() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            Endless.given += size
            return b"x" * size

    reading = lines.Lines(Endless(), "utf-8", ",", 2**20)  # type: ignore[arg-type]
    with pytest.raises(FileRefused) as caught:
        reading.header()
    assert caught.value.reason == "line_too_long"
    assert Endless.given <= 4 * decoding.CHUNK


@pytest.mark.parametrize("where", [b"%s\n1,2,3,4\n", b"a,b,c,reading\n%s\n", b"a,b,c,reading\n1,2,3,4\n%s"])
def test_a_long_line_is_refused_wherever_it_stands(where: bytes) -> None:
    assert refusal(where % (b"y" * 5000), PLAIN, line_limit=4000).reason == "line_too_long"


def test_a_line_at_the_limit_is_taken() -> None:
    line = b"x" * 3994 + b",2,3,4"
    assert len(cells(HEAD + line + b"\n", PLAIN, line_limit=4000)) == 1
    assert refusal(HEAD + b"x" + line + b"\n", PLAIN, line_limit=4000).reason == "line_too_long"


def test_a_quote_that_never_closes_costs_its_own_row_alone() -> None:
    body = b"".join(b"%d,2,3,4\n" % n for n in range(5000))
    found = rows(HEAD + b'x,"y,3,4\n' + body, PLAIN, line_limit=1000)
    assert found[0].damage == UNSOUND
    assert [row.cells[0] for row in found[1:]] == [str(n) for n in range(5000)]
    assert {row.damage for row in found[1:]} == {WHOLE}


def test_quotes_that_never_close_everywhere_are_refused() -> None:
    assert refusal(HEAD + b'x,"y"z,3,4\n' * 2000, PLAIN).reason == "quotes"
    assert refusal(b'a,b,c,"reading\n1,2,3,4\n', PLAIN).reason == "quotes"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n\r\n\n", "empty"),
        (HEAD, "no_rows"),
        (HEAD + b"\n\n", "no_rows"),
        (HEAD + b"1,\x002,3,4\n", "nul_bytes"),
        (HEAD + b"1,2,3,4\n" * 200_000 + b"\0", "nul_bytes"),
        (b",".join(b"x%d" % n for n in range(5000)) + b"\n", "too_many_columns"),
    ],
)
def test_what_cannot_be_read_as_a_whole_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    assert refusal(data, PLAIN).reason == reason


def test_a_body_of_too_many_rows_is_refused() -> None:
    assert len(cells(HEAD + b"1,2,3,4\n" * 5, PLAIN, row_limit=5, batch_rows=2)) == 5
    assert refusal(HEAD + b"1,2,3,4\n" * 6, PLAIN, row_limit=5, batch_rows=2).reason == "too_large"


def expected(text: str, width: int, *, must_end: bool) -> Iterator[tuple[Sequence[str], bool]]:
    """What the module says of itself, word by word and slowly: cells of each row and whether it is whole."""
    found = text.split("\n")
    unended = bool(found.pop())
    if unended:
        found = text.split("\n")
    at = 0
    while at < len(found):
        line, used = found[at].removesuffix("\r"), 1
        row, sound = line.split(","), "\r" not in line
        if '"' in line:
            try:
                parser = csv.reader((f"{more}\n" for more in found[at:]), strict=True)
                row, used, sound = next(parser), parser.line_num, True
            except csv.Error:
                sound = False
        at += used
        if line or used > 1:
            yield row, sound and len(row) == width and not (must_end and unended and at == len(found))


soup = st.text(alphabet=st.sampled_from('ab,,,""\n\n\r é'), max_size=60)


@given(body=st.lists(soup, max_size=6), batch_rows=st.integers(1, 5), chunk=st.integers(1, 40), must_end=st.booleans())
@settings(max_examples=counts.examples(400))
def test_any_text_gives_the_same_rows_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, body: list[str], batch_rows: int, chunk: int, must_end: bool
) -> None:
    text = "a,reading\n" + "\n".join(body)
    profile = text_profile("a", ends_with_newline=must_end)
    path = tmp_path_factory.getbasetemp() / "soup.csv"
    wanted = list(expected(text.removeprefix("a,reading\n"), 2, must_end=must_end))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK", chunk)
        patch.setattr(lines, "BLOCK", 3 * chunk)
        if not wanted:
            path.write_bytes(text.encode())
            assert refusal(text.encode(), profile, batch_rows=batch_rows).reason == "no_rows"
            return
        found = rows_of_file(path, text.encode(), profile, batch_rows=batch_rows)
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    assert [row.damage == WHOLE for row in found] == [sound for _, sound in wanted]
    for row, (cells_, sound) in zip(found, wanted, strict=True):
        assert (row.mend is None) == sound
        if sound:
            assert row.cells == tuple(cell or None for cell in cells_)


@given(
    table=st.lists(st.lists(st.text(max_size=8).filter(lambda t: "\0" not in t), min_size=3, max_size=3), min_size=1),
    # With a bare "\n", some versions of the writer leave a carriage return without quotes.
    style=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n")]),
    chunk=st.integers(20, 100),  # the first holds the header: from it the reader learns how lines end
)
@settings(max_examples=counts.examples(200))
def test_what_a_csv_writer_wrote_is_read_back(table: list[list[str]], style: tuple[int, str], chunk: int) -> None:
    target = io.StringIO()
    writer = csv.writer(target, quoting=style[0], lineterminator=style[1])  # type: ignore[arg-type]
    writer.writerows([["a", "b", "reading"], *table])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "CHUNK", chunk)
        found = rows(target.getvalue().encode("utf-8", "replace"), text_profile("ab"))
    assert [row.cells for row in found if row.damage == WHOLE] == [
        tuple(cell.encode("utf-8", "replace").decode() or None for cell in row) for row in table
    ]


@given(data=st.binary(max_size=300), encoding=st.sampled_from(["utf-8", "windows-1252", "latin-1", "utf-16"]))
@settings(max_examples=counts.examples(300))
def test_no_bytes_at_all_end_in_anything_but_rows_or_a_refusal(data: bytes, encoding: str) -> None:
    profile, reasons = text_profile("a", encoding=encoding), set()
    for content in (data, "a,reading\n".encode("utf-8" if encoding != "utf-16" else "utf-16") + data):
        try:
            with read_bytes(content, "csv", profile) as reader:
                assert sum(batch.rows for batch in reader) > 0
        except FileRefused as refused:
            reasons.add(refused.reason)
    assert reasons <= REASONS
