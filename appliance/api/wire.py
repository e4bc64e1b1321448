"""Formats on the wire: JSON, CSV and Parquet in; the same out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
from pydantic_core import from_json, to_json

from appliance import jsonrows, names, quality, reader, spreadsheet
from appliance.api import query, schema
from appliance.api.problems import NotAcceptable
from appliance.errors import RequestError, RowsRefused, TooLarge, UnsupportedMedia
from appliance.predict import NOBODY
from appliance.profile import ROW, Profile
from appliance.spreadsheet import REASONS

Format = Literal["json", "csv", "parquet"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_MEDIA: Mapping[str, Format] = {JSON: "json", CSV: "csv", PARQUET: "parquet"}
_TYPES: Mapping[Format, str] = {"json": JSON, "csv": f"{CSV}; charset=utf-8", "parquet": PARQUET}

# Parsed, JSON takes some twenty times the room of its text; wide rows have to come in several requests, or as a file.
MOST_JSON_BYTES = 16 * 1024 * 1024
# What one transaction holds and one answer tells; more rows belong into the drop folder.
MOST_ROWS = 200_000
# Rows that are refused are listed up to here, and counted beyond.
MOST_LISTED = 1_000
MOST_LISTED_IN_PROBLEM = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request to predict says beside its body; ``digest`` is over all of it, the body too."""

    profile: str | None
    machine: str | None
    time: str | None
    format: Format
    accept: Format
    key: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Validated ``good`` rows, and ``rejected`` ones as ``{row, reasons}`` (the first ones; ``bad`` counts them all)."""

    good: pl.DataFrame
    rejected: Sequence[Mapping[str, Any]]
    bad: int


def format_of(content_type: str | None) -> Format:
    """The format that a body is in."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        said = f"not {media[:80]!r}" if media else "and the header Content-Type is missing"
        raise UnsupportedMedia(f"A body is JSON, CSV or Parquet, {said}.", f"Say Content-Type: {' or '.join(_MEDIA)}.")
    return _MEDIA[media]


def accepted(accept: str | None) -> Format:
    """The format that the client likes best among ours; JSON where it does not care."""
    best: tuple[float, Format] | None = None
    for item in (accept or "*/*").lower().split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        format_: Format | None = (
            "json" if media in ("*/*", "application/*", "application/problem+json") else _MEDIA.get(media)
        )
        if media == "text/*":
            format_ = "csv"
        if format_ and 0 < weight <= 1 and (best is None or weight > best[0]):
            best = weight, format_
    if best is None:
        raise NotAcceptable
    return best[1]


def media_type(format_: Format) -> str:
    return _TYPES[format_]


def digest(parts: Iterable[str | None], body: bytes) -> str:
    """SHA-256 (hex) over what makes two requests the same."""
    head = json.dumps(list(parts)).encode()
    return hashlib.sha256(len(head).to_bytes(8) + head + body).hexdigest()


def read_rows(body: bytes, ask: Ask, profile: Profile, now: datetime, zone: str) -> Rows:
    """Check a body's rows against the contract; RequestError or FileRefused where it cannot be read as a whole."""
    if ask.format == "json":
        return _json_rows(body, ask, profile, now, zone)
    machine = machine_of(ask.machine, profile)
    moment = query.moment("time", ask.time, zone)
    return _file_rows(body, ask.format, profile, machine, _arrival(moment, profile, now))


def demand(rows: Rows, format_: Format) -> None:
    """RowsRefused where these rows are not to be predicted: one of JSON is bad, or all of a file are."""
    if not rows.bad or (format_ != "json" and rows.good.height):
        return
    said = "1 row breaks" if rows.bad == 1 else f"{rows.bad:,} rows break"
    again = "send all rows again" if format_ == "json" else "send the file again"
    listed = rows.rejected[:MOST_LISTED_IN_PROBLEM]
    raise RowsRefused(f"{said} the contract.", listed, f"Nothing was stored. Mend them and {again}.")


def _json_rows(body: bytes, ask: Ask, profile: Profile, now: datetime, zone: str) -> Rows:
    if ask.machine is not None or ask.time is not None:
        raise RequestError(
            "The parameters machine and time belong to CSV and Parquet.", 'In JSON they stand beside "rows".'
        )
    if len(body) > MOST_JSON_BYTES:
        raise TooLarge(f"JSON is taken up to {MOST_JSON_BYTES >> 20} MiB.", "Send CSV or Parquet, or several requests.")
    document = parse_json(body)
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
    machine = machine_of(_text(document, "machine"), profile)
    moment = query.moment("time", _text(document, "time"), zone)
    contract = schema.contract_of_json(profile)
    batch = jsonrows.rows_to_batch(rows, contract)
    # Two questions may be the same, where identifiers need not be told.
    arrival = _arrival(moment, profile, now)
    checker = quality.Checker(contract, batch.header, machine, arrival, duplicates=False)
    checked = checker.check(batch)
    return Rows(checked.good, _listed(checked.bad), checked.bad.height)


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


def parse_json(body: bytes) -> Any:
    """A JSON text, strictly: UTF-8, no NaN or Infinity, no key twice, sane in depth and digits."""
    try:
        # The first is strict about numbers, texts and depth; the second alone sees a key that stands twice.
        from_json(body, allow_inf_nan=False)
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"The body is no JSON: {str(error)[:200]}.", "Numbers are finite, and each key stands once."
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:100]!r} stands twice")
    return made


def to_bytes(value: Any) -> bytes:
    """JSON; what is no number is null."""
    return to_json(value, inf_nan_mode="null")


def to_csv(frame: pl.DataFrame) -> bytes:
    """RFC 4180: comma, point, UTF-8; times in ISO 8601, UTC; no cell that a spreadsheet would run."""
    texts = [inert(name) for name, kind in frame.schema.items() if kind == pl.String()]
    return frame.with_columns(texts).write_csv().encode()


def inert(name: str) -> pl.Expr:
    """:func:`appliance.spreadsheet.inert` for a whole column."""
    bare = pl.col(name).str.strip_chars_start("'")
    armed = bare.str.contains(spreadsheet.FORMULA) & ~bare.str.contains(spreadsheet.SIGNED_NUMBER)
    return pl.when(armed).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)


def to_parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


def _listed(bad: pl.DataFrame) -> list[dict[str, Any]]:
    first = bad.head(MOST_LISTED)
    reasons = (text.split("; ") for text in first[REASONS].to_list())
    return [{"row": row, "reasons": list(said)} for row, said in zip(first[ROW].to_list(), reasons, strict=True)]


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"The key {name} holds no text.", "See GET /openapi.json.")
    return value


def machine_of(name: str | None, profile: Profile) -> str:
    """The machine that a request names for all of its rows, NOBODY where it names none; '' where each row does."""
    if name is None:
        return NOBODY if schema.takes_machine(profile) else ""
    if not schema.takes_machine(profile):
        raise RequestError("The rows of this profile name their machine themselves.", "Leave machine out.")
    fault = "is taken for rows of no machine" if name == NOBODY else names.machine_fault(name)
    if fault is not None:
        raise RequestError(f"The name of the machine {fault}.", "Name it as its folder is named, for example mill-1.")
    return name


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
