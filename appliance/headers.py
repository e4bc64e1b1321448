"""Which column of a file is which column of the profile. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.errors import FileRefused
from appliance.profile import Column, Profile
from appliance.spreadsheet import OWN, ROW_NUMBER, original

MAX_COLUMNS = 4096
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


@dataclass(frozen=True, slots=True)
class Header:
    """``names``: one unique name a cell of the header line; ``own``: positions of our own columns by name."""

    names: tuple[str, ...]
    own: dict[str, int]

    @property
    def columns(self) -> list[str]:
        """The machine's columns, in file order."""
        mine = set(self.own.values())
        return [name for position, name in enumerate(self.names) if position not in mine]

    @property
    def mended(self) -> bool:
        """The file is one of our own bad CSVs that comes back."""
        return any(name != ROW_NUMBER for name in self.own)


def tidy(name: str) -> str:
    """A header cell as it is compared: composed Unicode, no blanks around it."""
    return unicodedata.normalize("NFC", name).strip()


def known(names: Sequence[str], profile: Profile) -> dict[str, Column]:
    """Profile column by file header name, for those names that the profile knows."""
    lookup = {tidy(header): column for column in profile.columns for header in column.headers}
    return {name: lookup[tidy(name)] for name in names if tidy(name) in lookup}


def time_of(names: Sequence[str], profile: Profile) -> str | None:
    """The column of a file that says when its rows were read, if it has one."""
    return next((name for name, column in known(names, profile).items() if column.name == profile.time.column), None)


def read(cells: Sequence[str], profile: Profile) -> Header:
    """Check a header line; :class:`FileRefused` where no row below it could be understood."""
    if len(cells) > MAX_COLUMNS:
        raise FileRefused(
            "too_many_columns",
            f"The file has {len(cells):,} columns; at most {MAX_COLUMNS:,} are read.",
            "Export only the columns that the profile names.",
        )
    names = [tidy(cell) for cell in cells]
    own = {name: position for position, name in enumerate(names) if name in OWN}
    if own:
        names = [original(name) for name in names]
    matched = known(names, profile)
    if not matched:
        raise _unknown(names, profile)
    seen: dict[str, str] = {}
    for name in names:
        if name not in matched:
            continue
        column = matched[name].name
        if column in seen:
            twice = repr(name) if seen[column] == name else f"{seen[column]!r} and {name!r}"
            raise FileRefused(
                "duplicate_column",
                f"The file holds the column {matched[name].header!r} twice ({twice}).",
                "Export it once: the appliance cannot know which of the two is right.",
            )
        seen[column] = name
    return Header(tuple(_unique(names, own)), own)


def _unique(names: Sequence[str], own: Mapping[str, int]) -> list[str]:
    """Columns that the profile does not know may be nameless or share a name; each gets one of its own.

    So do names that Polars would take for patterns of names.
    """
    taken: set[str] = set(OWN)
    result: list[str] = []
    for position, name in enumerate(names):
        if own.get(name) == position:
            result.append(name)
            continue
        if not name or name in taken or name == "*" or (name.startswith("^") and name.endswith("$")):
            name = f"{name} (column {position + 1})".strip()
            while name in taken:
                name += "*"
        taken.add(name)
        result.append(name)
    return result


def _unknown(names: Sequence[str], profile: Profile) -> FileRefused:
    wanted = ", ".join(column.header for column in profile.columns[:3])
    line = names[0] if len(names) == 1 else ""
    separator = profile.file.separator
    likely = max(SEPARATORS, key=line.count)
    if line.count(likely) and likely != separator:
        cells = [tidy(cell.strip('"')) for cell in line.split(likely)]
        if known(cells, profile):
            return FileRefused(
                "header",
                f"The file separates its columns by {SEPARATORS[likely]}; the profile {profile.name!r} says "
                f"{SEPARATORS.get(separator, repr(separator))}.",
                "Save the file with the profile's separator, or mend `separator` in the profile.",
            )
    return FileRefused(
        "header",
        f"The first line holds no column of the profile {profile.name!r}.",
        f"It must be the header: {wanted}, ...",
    )
