"""What a box holds, told without what may differ between two runs: ids, clocks and the order of files.

Two boxes into which the same files were dropped must tell the same, whatever was killed on the way. What must hold of
any box by itself is in :func:`broken`.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from appliance.outputs import good_metadata
from appliance.profile import TIME
from appliance.store import accounts
from appliance.store.engine import Connection
from tests.faults.boxes import Box

# Profiles whose rows are read when the file arrives: their times are those of the run.
_TIMED_BY_ARRIVAL = ("milling",)
# Files that are locked and never hold anything.
_LOCKS = ("work/.pass", "work/.predict", "work/.maintain")
_LABEL = "left(sha256, 8) || CASE state WHEN 'quarantined' THEN ' ' || name ELSE '' END"


@dataclass(frozen=True, slots=True)
class Told:
    """All that must be the same.

    Files go by the start of their content's hash, for the same content may come under two names; refused ones are
    never taken for each other, and go by their name as well.
    """

    accounts: dict[str, int]
    arrivals: Counter[Any]
    files: dict[str, Any]
    good: dict[str, Any]
    bad: dict[str, str]
    predictions: dict[str, Any]
    states: dict[str, Any]
    alarms: list[Any]
    drift: dict[str, Any]
    folders: dict[str, Counter[Any]]

    def differences(self, other: Told) -> list[str]:
        """Where another telling differs, a line each."""
        lines = []
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if mine != others:
                lines.append(f"{field.name} differ:\n    wanted {mine}\n    found  {others}")
        return lines


def tell(box: Box) -> Told:
    with box.looking() as connection:
        hashes = dict(map(tuple, connection.execute(text(f"SELECT id, {_LABEL} FROM file"))))
        return Told(
            accounts=asdict(accounts.accounting(connection)),
            arrivals=_arrivals(connection),
            files=_files(connection, hashes),
            good=_good(box, connection),
            bad=_bad(box, connection),
            predictions=_predictions(connection, hashes),
            states=_states(connection, hashes),
            alarms=_alarms(connection, hashes),
            drift=_drift(connection),
            folders={name: _content(box.folder / name) for name in ("raw_data", "archive", "bad_data/quarantine")},
        )


def broken(box: Box) -> list[str]:
    """Promises that do not hold here, once a pass ran to its end; a line each."""
    lines = [f"left over: {path.relative_to(box.folder)}" for path in _litter(box)]
    with box.looking() as connection:
        lines += [violation.sentence for violation in accounts.violations(connection)]
        lines += [
            f"arrival {row.id} ({row.name}) is {row.state} and still open"
            for row in connection.execute(text("SELECT id, name, state FROM arrival WHERE cleared_at IS NULL"))
        ]
        known = set()
        paths = "SELECT unnest(ARRAY[good_path, bad_path, report_path, quarantine_path]) FROM file"
        for path in connection.execute(text(paths)).scalars():
            if path is not None:
                known.add(box.folder / path)
                if not os.path.lexists(box.folder / path):
                    lines.append(f"in the ledger, but not there: {path}")
    there = {path for name in ("good_data", "bad_data") for path in _entries(box.folder / name)}
    lines += [f"there, but not in the ledger: {path.relative_to(box.folder)}" for path in sorted(there - known)]
    return lines


def _litter(box: Box) -> Iterator[Path]:
    for path in sorted(box.folder.rglob("*")):
        place = path.relative_to(box.folder)
        if place.parts[0] == "models" or str(place) in _LOCKS:
            continue
        if path.name.startswith(".") or path.suffix == ".tmp" or path.parent.name == "work":
            yield path


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]


def _content(folder: Path) -> Counter[Any]:
    """How often each content lies below a folder, under which name (without the number that we append)."""
    found: Counter[Any] = Counter()
    for path in _entries(folder):
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[path.name.rpartition(".")[0], hashlib.sha256(data).hexdigest()[:8]] += 1
    return found


def _arrivals(connection: Connection) -> Counter[Any]:
    return Counter(
        tuple(row) for row in connection.execute(text("SELECT left(sha256, 8), origin, state, note FROM arrival"))
    )


def _files(connection: Connection, hashes: dict[int, str]) -> dict[str, Any]:
    found = {}
    for row in connection.execute(text("SELECT * FROM file")):
        issues = connection.execute(
            text('SELECT rule, column_name, "count", examples FROM quality_issue WHERE file_id = :id ORDER BY 1, 2'),
            {"id": row.id},
        )
        counts = (row.rows_in, row.rows_good, row.rows_bad, row.state, row.criticality, row.reason, row.origin)
        lineage = hashes.get(row.mended_from or 0)
        found[hashes[row.id]] = (*counts, lineage, row.header, [tuple(issue) for issue in issues])
    return found


def _good(box: Box, connection: Connection) -> dict[str, Any]:
    """The rows of each file of good rows, and what stands beside them."""
    query = "SELECT f.good_path, f.sha256, f.arrived_at, p.name FROM file f JOIN profile p ON p.id = f.profile_id"
    found = {}
    for row in connection.execute(text(f"{query} WHERE f.good_path IS NOT NULL")):
        frame = pl.read_parquet(box.folder / row.good_path)
        if row.name in _TIMED_BY_ARRIVAL:
            assert frame[TIME].unique().to_list() == [row.arrived_at]
            frame = frame.drop(TIME)
        found[row.sha256[:8]] = (frame.to_dict(as_series=False), good_metadata(box.folder / row.good_path))
    return found


def _bad(box: Box, connection: Connection) -> dict[str, str]:
    """The text of each file of bad rows, without the number of the file in its last column."""
    found = {}
    query = "SELECT id, bad_path, report_path, sha256 FROM file WHERE bad_path IS NOT NULL"
    for row in connection.execute(text(query)):
        lines = (box.folder / row.bad_path).read_text(encoding="utf-8-sig").splitlines()
        assert all(line.endswith(str(row.id)) for line in lines[1:])
        assert (box.folder / row.report_path).read_text().rstrip().endswith("</html>")
        found[row.sha256[:8]] = "\n".join(line.removesuffix(str(row.id)) for line in lines)
    return found


def _predictions(connection: Connection, hashes: dict[int, str]) -> dict[str, Any]:
    """Of files, by file and row: whose it is, what was said, from which features."""
    query = (
        "SELECT r.file_id, r.row, m.name, r.source, r.probability, r.failing, r.flags, r.features::text, r.modes::text,"
        " CASE WHEN p.name = ANY(:by_arrival) THEN NULL ELSE r.read_at END AS read_at"
        " FROM prediction r JOIN machine m ON m.id = r.machine_id JOIN profile p ON p.id = r.profile_id"
        " WHERE r.file_id IS NOT NULL ORDER BY 1, 2"
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(text(query), {"by_arrival": list(_TIMED_BY_ARRIVAL)}):
        found.setdefault(hashes[row.file_id], []).append(tuple(row)[1:])
    return found


def _row_of(connection: Connection, hashes: dict[int, str], prediction: int | None) -> Any:
    query = text("SELECT file_id, row FROM prediction WHERE id = :id")
    row = connection.execute(query, {"id": prediction}).first()
    return row and (hashes[row.file_id], row.row)


def _states(connection: Connection, hashes: dict[int, str]) -> dict[str, Any]:
    query = "SELECT m.name, p.name AS profile, s.* FROM machine_state s JOIN machine m ON m.id = s.machine_id"
    found = {}
    for row in connection.execute(text(f"{query} JOIN profile p ON p.id = m.profile_id")):
        by_arrival = row.profile in _TIMED_BY_ARRIVAL
        recent = [{name: cell for name, cell in old.items() if name != TIME or not by_arrival} for old in row.recent]
        said = (row.verdicts, row.calm, row.last_probability, row.last_failing, row.alarm_id is not None)
        last = _row_of(connection, hashes, row.last_id)
        found[row.name] = (recent, *said, last, None if by_arrival else row.last_read_at)
    return found


def _alarms(connection: Connection, hashes: dict[int, str]) -> list[Any]:
    query = "SELECT m.name, a.* FROM alarm a JOIN machine m ON m.id = a.machine_id ORDER BY m.name, a.id"
    found = []
    for row in connection.execute(text(query)):
        ids = [_row_of(connection, hashes, id_) for id_ in (row.first_prediction_id, row.last_prediction_id)]
        found.append((row.name, row.rows, row.probability, row.details, row.close_reason, ids))
    return found


def _drift(connection: Connection) -> dict[str, Any]:
    """The counts of each machine and model, whatever days they were counted on."""
    query = (
        "SELECT m.name || ' ' || v.version AS name, d.rows, d.outside, d.counts"
        " FROM drift d JOIN machine m ON m.id = d.machine_id JOIN model v ON v.id = d.model_id"
    )
    found: dict[str, Any] = {}
    for row in connection.execute(text(query)):
        before = found.get(row.name, (0, 0, [0] * len(row.counts)))
        added = [old + new for old, new in zip(before[2], row.counts, strict=True)]
        found[row.name] = (before[0] + row.rows, before[1] + row.outside, added)
    return found
