"""Rows of a request to predict: out of its body, and checked against the contract.

Requests in JSON may be checked together: they become one frame, and each gets its own rows of it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import contract, jsonrows, quality, reader
from appliance.api import query, schema, wire
from appliance.api.wire import Ask, Format
from appliance.errors import RequestError, RowsRefused, TooLarge
from appliance.profile import MACHINE, ROW, TIME, Profile
from appliance.spreadsheet import REASONS

# Parsed, JSON takes some twenty times the room of its text; wide rows have to come in several requests, or as a file.
MOST_JSON_BYTES = 16 * 1024 * 1024
# What one transaction holds and one answer tells; more rows belong into the drop folder.
MOST_ROWS = 200_000
# Rows that are refused are listed up to here, and counted beyond.
MOST_LISTED = 1_000
MOST_LISTED_IN_PROBLEM = 100


@dataclass(frozen=True, slots=True)
class Rows:
    """Validated ``good`` rows, and ``rejected`` ones as ``{row, reasons}`` (the first ones; ``bad`` counts them all)."""

    good: pl.DataFrame
    rejected: Sequence[Mapping[str, Any]]
    bad: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a body in JSON asks: rows as they came, of one machine (NOBODY, or '' where the rows name it), and when
    they came."""

    rows: Sequence[Mapping[str, Any]]
    machine: str
    arrival: datetime


def read_rows(body: bytes, ask: Ask, profile: Profile, now: datetime, zone: str) -> Rows:
    """Check a body's rows against the contract; RequestError or FileRefused where it cannot be read as a whole."""
    if ask.format == "json":
        return check([read_question(body, ask, profile, now, zone)], profile)[0]
    machine = wire.machine_of(ask.machine, profile)
    moment = query.moment("time", ask.time, zone)
    return _file_rows(body, ask.format, profile, machine, _arrival(moment, profile, now))


def refusal(rows: Rows, format_: Format) -> RowsRefused | None:
    """Why these rows are not to be predicted, where they are not: one of JSON is bad, or all of a file are."""
    if not rows.bad or (format_ != "json" and rows.good.height):
        return None
    said = "1 row breaks" if rows.bad == 1 else f"{rows.bad:,} rows break"
    again = "send all rows again" if format_ == "json" else "send the file again"
    listed = rows.rejected[:MOST_LISTED_IN_PROBLEM]
    return RowsRefused(f"{said} the contract.", listed, f"Nothing was stored. Mend them and {again}.")


def read_question(body: bytes, ask: Ask, profile: Profile, now: datetime, zone: str) -> Question:
    """What a body in JSON asks; RequestError where it cannot be read. Its rows are not checked yet."""
    if ask.machine is not None or ask.time is not None:
        raise RequestError(
            "The parameters machine and time belong to CSV and Parquet.", 'In JSON they stand beside "rows".'
        )
    if len(body) > MOST_JSON_BYTES:
        raise TooLarge(f"JSON is taken up to {MOST_JSON_BYTES >> 20} MiB.", "Send CSV or Parquet, or several requests.")
    document = wire.parse_json(body)
    known = {"rows", *(("machine",) if schema.takes_machine(profile) else ())}
    known |= {"time"} if profile.time.from_ == "arrival" else set()
    if not isinstance(document, dict) or "rows" not in document:
        raise RequestError(
            "The body is no object with the key rows.", 'Send {"rows": [{...}, ...]}; see GET /openapi.json.'
        )
    if unknown := sorted(set(document) - known):
        listed = ", ".join(sorted(known))
        raise RequestError(f"The body has a key {unknown[0][:100]!r} that is not known here.", f"Known are {listed}.")
    rows = document["rows"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RequestError("The key rows holds no list of objects.", "See GET /openapi.json.")
    if not rows:
        raise RequestError("There are no rows.", "Send at least one.")
    if len(rows) > schema.MOST_JSON_ROWS:
        raise TooLarge(
            f"{len(rows):,} rows are more than the {schema.MOST_JSON_ROWS:,} that are taken as JSON.",
            "Send them as CSV or Parquet, or in several requests.",
        )
    machine = wire.machine_of(_text(document, "machine"), profile)
    moment = query.moment("time", _text(document, "time"), zone)
    return Question(rows, machine, _arrival(moment, profile, now))


def check(questions: Sequence[Question], profile: Profile) -> list[Rows]:
    """The rows of each question, as if it came alone; one frame is checked for all of them."""
    json_contract = schema.contract_of_json(profile)
    rows = [row for question in questions for row in question.rows]
    ends = np.cumsum([len(question.rows) for question in questions])
    first = questions[0]
    # More rows than that are held to Pandera too.
    if len(rows) <= contract.FEW_ROWS and (typed := jsonrows.sound(rows, json_contract)) is not None:
        checker = _checker(json_contract, typed.columns[1:], first)
        if (taken := checker.taken(typed)) is not None:
            if len(questions) == 1:
                return [Rows(taken, (), 0)]
            return [Rows(mine, (), 0) for mine in _of_each(taken, questions, ends, profile)]
    batch = jsonrows.rows_to_batch(rows, json_contract)
    checked = _checker(json_contract, batch.header, first).check(batch)
    if len(questions) == 1:
        return [Rows(checked.good, _listed(checked.bad), checked.bad.height)]
    good = _of_each(checked.good, questions, ends, profile)
    bad = np.bincount(_whose(checked.bad, ends), minlength=len(questions)).tolist()
    # What is said of bad rows depends on those beside them, for instance which unknown keys are named.
    return [
        check([question], profile)[0] if count else Rows(rows, (), 0)
        for question, rows, count in zip(questions, good, bad, strict=True)
    ]


def _checker(json_contract: Profile, header: Sequence[str], question: Question) -> quality.Checker:
    # Two questions may be the same, where identifiers need not be told.
    return quality.Checker(json_contract, header, question.machine, question.arrival, duplicates=False)


def _of_each(
    good: pl.DataFrame, questions: Sequence[Question], ends: NDArray[np.int64], profile: Profile
) -> list[pl.DataFrame]:
    """Good rows by question: each numbered from 1, with the machine and the time of its own question."""
    whose = _whose(good, ends)
    counts = np.bincount(whose, minlength=len(questions))
    starts = np.array([0, *ends[:-1]])
    # Column by column: an expression costs a single row more than all else here.
    own = {ROW: pl.Series(ROW, good[ROW].to_numpy() - starts[whose], dtype=good.schema[ROW])}
    if schema.takes_machine(profile):
        machines = [questions[at].machine for at in whose.tolist()]
        own[MACHINE] = pl.Series(MACHINE, machines, dtype=pl.String)
    if profile.time.from_ == "arrival":
        times = quality.moments(TIME, [question.arrival for question in questions])
        own[TIME] = times.gather(whose)
    good = pl.DataFrame([own.get(column.name, column) for column in good.get_columns()])
    offsets = np.cumsum(counts) - counts
    return [good.slice(offset, count) for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True)]


def _whose(rows: pl.DataFrame, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The question of each row, by its number among all of them."""
    return np.searchsorted(ends, rows[ROW].to_numpy(), side="left")


def _file_rows(body: bytes, format_: Literal["csv", "parquet"], profile: Profile, machine: str, now: datetime) -> Rows:
    good: list[pl.DataFrame] = []
    bad: list[pl.DataFrame] = []
    rows = bad_rows = 0
    with reader.read_bytes(body, format_, profile) as batches:
        checker = quality.Checker(profile, batches.header, machine, now)
        for batch in batches:
            rows += batch.frame.height
            if rows > MOST_ROWS:
                raise TooLarge(
                    f"The file has more than the {MOST_ROWS:,} rows that are taken in a request.",
                    "Drop it into the raw folder, or send it in pieces.",
                )
            checked = checker.check(batch)
            good.append(checked.good)
            bad.append(checked.bad.select(ROW, REASONS).head(MOST_LISTED))
            bad_rows += checked.bad.height
    return Rows(pl.concat(good), _listed(pl.concat(bad)), bad_rows)


def _listed(bad: pl.DataFrame) -> list[dict[str, Any]]:
    first = bad.head(MOST_LISTED)
    reasons = (text.split("; ") for text in first[REASONS].to_list())
    return [{"row": row, "reasons": list(said)} for row, said in zip(first[ROW].to_list(), reasons, strict=True)]


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"The key {name} holds no text.", "See GET /openapi.json.")
    return value


def _arrival(moment: datetime | None, profile: Profile, now: datetime) -> datetime:
    if moment is None:
        return now
    if profile.time.from_ != "arrival":
        raise RequestError("The rows of this profile hold their time themselves.", "Leave time out.")
    if moment > now:
        raise RequestError(
            "The time lies in the future.",
            f"By the clock of this box it is {now.astimezone(UTC).isoformat(timespec='seconds')}.",
        )
    return moment
