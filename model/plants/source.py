"""What a playing plant drops next: files of simulated machines, or a given file cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import durable
from appliance.errors import UsageError
from appliance.profile import Profile
from model.plants.base import Plant


@dataclass(frozen=True, slots=True)
class Drop:
    """One file about to be dropped; ``sequence`` counts the files of its machine from 1."""

    machine: str
    sequence: int
    data: bytes
    rows: int


class Positions:
    """How far each machine has been played, in a hidden file, so that a restart goes on instead of repeating.

    The position moves on before its file is dropped: a kill in between loses simulated rows and repeats none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._next: dict[str, dict[str, int]] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._next = {}
        except ValueError:
            raise UsageError(f"{path} is damaged.", "Delete it to play from the beginning.") from None

    def take(self, key: str, rows: int, start_at: int | None) -> tuple[int, int]:
        """Sequence number and first row (from 0) of the next file of ``rows`` rows; ``start_at`` demands a number."""
        known = self._next.get(key, {"sequence": 1, "row": 0})
        sequence, row = (start_at, (start_at - 1) * rows) if start_at else (known["sequence"], known["row"])
        # After a repetition that was asked for, the furthest point stays the one to go on from.
        self._next[key] = {
            "sequence": max(known["sequence"], sequence + 1),
            "row": max(known["row"], row + rows),
        }
        durable.write(self._path, json.dumps(self._next, indent=1, sort_keys=True).encode())
        return sequence, row


def simulated(
    plant: Plant,
    positions: Positions,
    *,
    seed: int,
    machines: int,
    rows: int,
    files: int | None,
    start_at: int | None,
    mark: str = "",
) -> Iterator[Drop]:
    """Files of ``rows`` rows, the machines in turn; ``files`` of each, or without end.

    ``mark`` stands before the machine's name in the names of files and folders, and not in the rows: those are the
    plant's own, and keep to its profile.
    """
    played = 0
    while files is None or played < files:
        for number in range(1, machines + 1):
            machine = mark + plant.machine(number)
            start = start_at + played if start_at else None
            sequence, row = positions.take(f"{plant.name} {seed} {machine}", rows, start)
            data = plant.header() + plant.lines(plant.rows(seed, number, row, rows))
            yield Drop(machine, sequence, data, rows)
        played += 1


def recorded(path: Path, profile: Profile, machines: list[str], rows: int) -> Iterator[Drop]:
    """A CSV file in pieces of ``rows`` rows, each under the same header, dealt to the machines in turn, in order.

    The header once and all pieces without theirs are the file's bytes. An empty line goes with the row before it.
    """
    codec = _codec(path, profile)
    separator = profile.file.separator.encode(profile.file.encoding).decode(codec) if codec == "latin-1" else None
    with path.open(encoding=codec, newline="\n") as lines:
        try:
            records = _records(lines, separator or profile.file.separator)
            header = next(records, None)
            if header is None:
                raise UsageError(f"{path} is empty.", "Give a CSV file with a header.")
            for number, (body, count) in enumerate(_pieces(records, rows)):
                round_, turn = divmod(number, len(machines))
                yield Drop(machines[turn], round_ + 1, (header + body).encode(codec), count)
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not in {profile.file.encoding}.", "Convert it, or mend the profile.") from None


def _codec(path: Path, profile: Profile) -> str:
    """How to read a file so that the text gives back its very bytes: every 8-bit encoding as characters 0 to 255."""
    if profile.file.encoding != "utf-16":
        return "latin-1"
    with path.open("rb") as file:
        return "utf-16-be" if file.read(2) == b"\xfe\xff" else "utf-16-le"


def _pieces(records: Iterable[str], rows: int) -> Iterator[tuple[str, int]]:
    piece: list[str] = []
    count = 0
    for record in records:
        blank = not record.strip("\r\n")
        if count == rows and not blank:
            yield "".join(piece), count
            piece, count = [], 0
        piece.append(record)
        count += not blank
    if count:
        yield "".join(piece), count


def _records(lines: Iterable[str], separator: str) -> Iterator[str]:
    record: list[str] = []
    quoted = False
    for line in lines:
        record.append(line)
        quoted = _quoted_after(line, separator, quoted)
        if not quoted:
            yield "".join(record)
            record = []
    if record:
        yield "".join(record)


def _quoted_after(line: str, separator: str, quoted: bool) -> bool:
    """Whether a quoted cell is still open at the end of a line; a quote inside a plain cell opens none."""
    if '"' not in line:
        return quoted
    starts = not quoted
    place = len(line) - len(line.lstrip("\ufeff").removeprefix("\xef\xbb\xbf"))
    while place < len(line):
        if quoted:
            if line[place] == '"':
                doubled = line[place + 1 : place + 2] == '"'
                quoted = doubled
                place += doubled
        elif starts and line[place] == '"':
            quoted, starts = True, False
        else:
            starts = line.startswith(separator, place)
            place += len(separator) - 1 if starts else 0
        place += 1
    return quoted
