"""The appliance finds exactly the rows that each fault spoiled, and refuses exactly the files that are beyond reading."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.errors import FileRefused
from appliance.quality import Checker
from appliance.reader import open_file
from model import faults
from tests.unit.plants.test_faults_on_purpose import FILES

# Refused by the intake already, before the reader is asked.
NOT_FOR_THE_READER = {"compressed-in-disguise", "empty-file"}


@pytest.mark.parametrize("name", [name for name in faults.FAULTS if name not in NOT_FOR_THE_READER])
@pytest.mark.parametrize("file", FILES)
def test_what_the_checks_find_is_what_was_spoiled(tmp_path: Path, file: str, name: str) -> None:
    data, profile = FILES[file]
    path = tmp_path / "dropped.csv"
    for seed in range(10):
        made = faults.spoil(name, data, profile, seed)
        path.write_bytes(made.data)
        if made.expected == "file":
            with pytest.raises(FileRefused), open_file(path, "csv", profile) as reader:
                list(reader)
            continue
        good, bad = [], []
        with open_file(path, "csv", profile) as reader:
            checker = Checker(profile, reader.header, "mill-1", datetime(2026, 1, 1, tzinfo=UTC))
            for batch in reader:
                checked = checker.check(batch)
                good += checked.good["_row"].to_list()
                bad += checked.bad["_row"].to_list()
        assert tuple(sorted(bad)) == made.bad_rows, checker.issues()
        assert sorted(good + bad) == list(range(1, made.rows + 1))
