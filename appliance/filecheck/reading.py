"""A file's rows by the contract: good ones kept aside, bad ones told with their reasons. Nothing is stored.

The same gate, reader, checks and files as those of the drop folder; memory is bounded by one batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from appliance import quality, reader
from appliance.errors import FileRefused
from appliance.filecheck.folder import Folder
from appliance.gate import ByteGate, Format
from appliance.outputs import BadWriter, GoodWriter
from appliance.profile import ROW, Profile
from appliance.settings import Settings
from appliance.spreadsheet import MEND, REASONS

# Rows that one file may have: what tells rows apart is kept in memory.
MOST_ROWS = 2_000_000
BATCH_ROWS = 50_000
MOST_SHOWN = 200
# A part is scored and committed at once; between two of them others have their turn.
PART_ROWS = 50_000


class Upload:
    """Takes a file's bytes as they come: to the disk, through the gate, and into their hash."""

    def __init__(self, folder: Folder, profile: Profile, form: Format) -> None:
        self._file = folder.upload.open("xb", buffering=0)
        self._gate = ByteGate(profile, form)
        self._hash = hashlib.sha256()

    def write(self, block: bytes) -> None:
        self._gate.feed(block)
        self._hash.update(block)
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]

    def close(self) -> None:
        self._file.close()

    def end(self) -> str:
        """The hash; FileRefused where these bytes are no such file."""
        self.close()
        if refusal := self._gate.end():
            raise FileRefused(refusal.reason, refusal.message, refusal.way_out.replace("Drop it", "Hand it in"))
        return self._hash.hexdigest()


def read(folder: Folder, profile: Profile, form: Format, machine: str, now: datetime, box: Settings) -> dict[str, Any]:
    """Sort the rows; what was found, as JSON holds it. FileRefused where the file cannot be read as a whole."""
    rows = bad = 0
    shown: list[dict[str, Any]] = []
    reasons: list[pl.DataFrame] = []
    lines = box.line_limit_kb * 1024
    opened = reader.open_file(
        folder.upload, form, profile, batch_rows=BATCH_ROWS, line_limit=lines, complete=True, row_limit=MOST_ROWS
    )
    with opened as batches:
        header = list(batches.header)
        checker = quality.Checker(profile, header, machine, now)
        with (
            GoodWriter(folder.good, profile, profile.contract_hash(), folder.path) as good,
            BadWriter(folder.bad, profile, header, "") as mendable,
        ):
            for batch in batches:
                checked = checker.check(batch)
                rows, bad = rows + batch.rows, bad + checked.bad.height
                good.append(checked.good)
                mendable.append(checked.bad)
                reasons.append(checked.bad.select(ROW, REASONS))
                shown += _shown(checked.bad.head(MOST_SHOWN - len(shown)), header)
            predictable = good.commit()
            mendable.commit()
    pl.concat(reasons).write_parquet(folder.reasons, compression="lz4")
    high, medium = box.criticality_high, box.criticality_medium
    return {
        "rows": {"received": rows, "good": predictable, "bad": bad},
        "criticality": quality.criticality(rows, bad, high, medium),
        "header": header,
        "issues": [
            {
                "rule": issue.rule,
                "column": issue.column,
                "label": quality.label(profile, issue.column),
                "text": quality.describe(profile, issue),
                "count": issue.count,
                "examples": list(issue.examples),
            }
            for issue in checker.issues()
        ],
        "rejected": shown,
        "parts": -(-predictable // PART_ROWS),
    }


def _shown(bad: pl.DataFrame, header: Sequence[str]) -> list[dict[str, Any]]:
    """Bad rows as a screen shows them: no cell longer than one can read."""
    return [
        {
            "row": row[ROW],
            "reasons": row[REASONS].split("; "),
            "mend": row[MEND],
            "cells": {name: None if row[name] is None else quality.shortened(str(row[name])) for name in header},
        }
        for row in bad.iter_rows(named=True)
    ]
