"""Small ways to read, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from appliance import profile as profiles
from appliance.batches import WHOLE
from appliance.errors import FileRefused
from appliance.profile import Profile
from appliance.reader import Reader, open_file, read_bytes


class Row(NamedTuple):
    number: int
    cells: tuple[str | None, ...]
    damage: int
    mend: str | None


def text_profile(columns: str = "abc", **form: Any) -> Profile:
    """A profile whose columns are plain text, so that only the reading of a file matters."""
    table = {
        "schema": 1,
        "name": "plain",
        "title": "Plain",
        "words": {"failing": "fails", "passing": "holds"},
        "file": {"formats": ["csv", "parquet"], **form},
        "machine": {"from": "constant", "value": "M1"},
        "time": {"from": "arrival"},
        "columns": [
            *(
                {"name": c, "header": c, "title": c, "role": "context", "type": "text", "nullable": True}
                for c in columns
            ),
            {"name": "reading", "header": "reading", "title": "Reading", "type": "number"},
        ],
        "model": {"inputs": ["reading"]},
        "costs": {"missed_failure": 2, "false_alarm": 1},
    }
    return profiles.Profile.model_validate(table)


def rows(data: bytes, profile: Profile, **options: Any) -> list[Row]:
    with read_bytes(data, "csv", profile, **options) as reader:
        return _all(reader)


def rows_of_file(path: Path, data: bytes, profile: Profile, **options: Any) -> list[Row]:
    path.write_bytes(data)
    with open_file(path, "csv", profile, **options) as reader:
        return _all(reader)


def _all(reader: Reader) -> list[Row]:
    found: list[Row] = []
    for batch in reader:
        numbers = batch.frame["_row"].to_list()
        cells = batch.frame.select(reader.header).rows()
        found += map(Row, numbers, cells, batch.damage.tolist(), batch.mend.to_list())
    return found


def cells(data: bytes, profile: Profile, **options: Any) -> list[tuple[str | None, ...]]:
    """The cells of a file none of whose rows is damaged."""
    found = rows(data, profile, **options)
    assert [row.damage for row in found] == [WHOLE] * len(found)
    return [row.cells for row in found]


def refusal(data: bytes, profile: Profile, form: Any = "csv", **options: Any) -> FileRefused:
    """The refusal of a file, at opening or while it is read."""
    with pytest.raises(FileRefused) as caught, read_bytes(data, form, profile, **options) as reader:
        list(reader)
    assert caught.value.message
    assert caught.value.way_out
    return caught.value
