"""Formats on the wire: JSON, CSV and Parquet in; the same out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic_core import from_json, to_json

from appliance import names
from appliance.api import schema
from appliance.api.problems import NotAcceptable
from appliance.errors import RequestError, UnsupportedMedia
from appliance.predict import NOBODY
from appliance.profile import Profile
from appliance.spreadsheet import inert_cells

Format = Literal["json", "csv", "parquet"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_MEDIA: Mapping[str, Format] = {JSON: "json", CSV: "csv", PARQUET: "parquet"}
_TYPES: Mapping[Format, str] = {"json": JSON, "csv": f"{CSV}; charset=utf-8", "parquet": PARQUET}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request to predict says beside its body; ``digest`` is over all of it, the body too, where it has a key."""

    profile: str | None
    machine: str | None
    time: str | None
    format: Format
    accept: Format
    key: str | None
    digest: str
    store: bool = True


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


def parse_json(body: bytes) -> Any:
    """A JSON text, strictly: UTF-8, no NaN or Infinity, no key twice, sane in depth and digits."""
    try:
        # Strict about numbers, texts and depth, and silent about a key that stands twice.
        value = from_json(body, allow_inf_nan=False)
        # No key is hidden where keys and texts account for all colons; an escape could stand for one.
        if b"\\" not in body and ((colons := body.count(b":")) == _keys(value) or colons == _colons(value)):
            return value
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"The body is no JSON: {str(error)[:200]}.", "Numbers are finite, and each key stands once."
        ) from None


def _keys(value: Any) -> int:
    """The keys of an object and of those in its lists: all there are in most bodies, and quickly counted."""
    if type(value) is not dict:
        return 0
    lists = [one for one in value.values() if type(one) is list]
    return len(value) + sum(len(row) for rows in lists for row in rows if type(row) is dict)


def _colons(value: Any) -> int:
    """How many the value is written with at least: one behind each key, and those inside of its texts."""
    kind = type(value)
    if kind is str:
        return int(value.count(":"))
    if kind is dict:
        return len(value) + sum(map(_colons, value.values()))
    return sum(map(_colons, value)) if kind is list else 0


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
    texts = [inert_cells(name) for name, kind in frame.schema.items() if kind == pl.String()]
    return frame.with_columns(texts).write_csv().encode()


def to_parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


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
