"""A plant's file as cells, for what has to change single ones."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from appliance.profile import Column, Profile


@dataclass(frozen=True, slots=True)
class Table:
    """Header and data rows of a file as text, and the line end that it uses."""

    header: list[str]
    rows: list[list[str]]
    newline: str

    def columns(self, profile: Profile) -> list[tuple[int, Column]]:
        """The columns that the profile knows, each with its position."""
        known = {header: column for column in profile.columns for header in column.headers}
        return [(place, known[header]) for place, header in enumerate(self.header) if header in known]


def parse(data: bytes, profile: Profile) -> Table:
    """Cells of a well-formed file, which has at least a header."""
    text = data.decode(profile.file.encoding).removeprefix("\ufeff")
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=profile.file.separator)
    return Table(header, [row for row in rows if row], "\r\n" if "\r\n" in text else "\n")


def render(table: Table, profile: Profile, *, separator: str | None = None, newline: str | None = None) -> str:
    """The file as text, in the profile's separator and the table's own line end unless told otherwise."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator or profile.file.separator, lineterminator=newline or table.newline)
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return buffer.getvalue()


def encode(table: Table, profile: Profile) -> bytes:
    return render(table, profile).encode(profile.file.encoding)
