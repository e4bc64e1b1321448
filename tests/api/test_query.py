"""Moments, cursors, formats and JSON, without a server."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import spreadsheet
from appliance.api import query, wire
from appliance.api.problems import NotAcceptable
from appliance.errors import RequestError, UnsupportedMedia


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-03-01T08:00:00+01:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
        ("2026-03-01T08:00:00 01:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),  # a plus that nobody quoted
        ("2026-03-01T08:00:00Z", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01T08:00:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),  # plant time
        ("2026-07-01 08:00", datetime(2026, 7, 1, 6, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 2, 28, 23, tzinfo=UTC)),
    ],
)
def test_a_time_without_zone_is_plant_time(text: str, wanted: datetime) -> None:
    assert query.moment("from", text, "Europe/Berlin") == wanted


@given(st.text())
def test_no_text_breaks_the_reading_of_times_and_cursors(text: str) -> None:
    for read in (lambda: query.moment("from", text, "Europe/Berlin"), lambda: query.after(text)):
        try:
            read()
        except RequestError as error:
            assert error.way_out  # noqa: PT017 - a refusal is allowed, not demanded


@given(st.integers(1, query.BIGINT))
def test_a_cursor_comes_back_as_it_was(last_id: int) -> None:
    assert query.after(query.cursor_of(last_id)) == last_id


@given(st.lists(st.integers(1, 10**12), unique=True), st.integers(1, 10))
def test_pages_hand_out_every_item_once(ids: list[int], limit: int) -> None:
    items = [{"id": id_} for id_ in sorted(ids, reverse=True)]
    seen, after = [], None
    while True:
        left = [item for item in items if after is None or item["id"] < after]
        page = query.page(left[: limit + 1], limit)
        seen += page["items"]
        assert len(page["items"]) <= limit
        if page["next"] is None:
            break
        after = query.after(page["next"])
    assert seen == items


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("text/html, text/csv;q=0.5, application/json;q=0.4", "csv"),
        ("application/vnd.apache.parquet", "parquet"),
        ("text/csv;q=0, */*", "json"),
        ("TEXT/CSV; q=1.0", "csv"),
    ],
)
def test_the_format_that_the_client_likes_best_is_given(accept: str | None, wanted: str) -> None:
    assert wire.accepted(accept) == wanted


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "text/csv;q=x", ""])
def test_a_format_that_cannot_be_given_is_refused(accept: str) -> None:
    if accept == "":
        assert wire.accepted(accept) == "json"
        return
    with pytest.raises(NotAcceptable):
        wire.accepted(accept)


@pytest.mark.parametrize("media", [None, "", "text/html", "multipart/form-data; boundary=x", "application/xml"])
def test_other_bodies_are_refused(media: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        wire.format_of(media)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"rows": [{"x": 1, "y": {"z": 1, "z": 1}}]}',
        b'{"a": 1, "a": ":"}',
        b'{"a": "\\u003a", "b": 1, "b": 2}',
        b'{"rows": [{"x": 1, "x": 2}, {"x": 1}]}',
        b'{"rows": [{"x": {}, "x": {"y": 1}}]}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
    ],
)
def test_json_is_read_strictly(body: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        wire.parse_json(body)
    assert len(refused.value.message) < 300


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, min_size=1, max_size=3), st.booleans(), st.booleans(), st.data())
def test_a_key_that_stands_twice_is_always_seen(
    value: dict[str, object], in_a_row: bool, escaped: bool, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    members = [*value.items(), (name, data.draw(json_values))]
    written = (
        f"{json.dumps(key, ensure_ascii=escaped)}: {json.dumps(one, ensure_ascii=escaped)}" for key, one in members
    )
    document = f"{{{', '.join(written)}}}"
    with pytest.raises(RequestError):
        wire.parse_json((f'{{"rows": [{document}]}}' if in_a_row else document).encode("utf-8", "surrogatepass"))


@given(json_values)
def test_all_other_json_is_read_as_it_stands(value: object) -> None:
    assert wire.parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.lists(st.none() | st.text(max_size=5), max_size=3), st.lists(st.none() | st.text(max_size=5), max_size=3))
def test_two_requests_share_a_digest_only_if_they_are_the_same(
    first: list[str | None], second: list[str | None]
) -> None:
    assert (wire.digest(first, b"x") == wire.digest(second, b"x")) == (first == second)
    assert wire.digest(first, b"x") != wire.digest(first, b"y")


@given(st.lists(st.none() | st.text(alphabet="'=+-@1.,ab \t", max_size=6), min_size=1))
def test_no_cell_of_a_csv_is_run_by_a_spreadsheet(cells: list[str | None]) -> None:
    written = wire.to_csv(pl.DataFrame({"n": range(len(cells)), "text": cells}, schema_overrides={"text": pl.String}))
    _, *back = csv.reader(io.StringIO(written.decode(), newline=""))
    wanted = ["" if cell is None else spreadsheet.inert(cell) for cell in cells]
    assert [row[1] for row in back] == wanted
