"""What a pass did, in figures and in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Ingested:
    """What one pass over the drop folders did; ``run`` is its number in the book."""

    run: int = 0
    files: int = 0
    rows_in: int = 0
    rows_good: int = 0
    rows_bad: int = 0
    duplicates: int = 0
    quarantined: int = 0
    left: int = 0  # still being written, or beyond the time of this pass
    broken: int = 0  # the pass broke off over them
    errors: list[str] = field(default_factory=list)
    file_ids: list[int] = field(default_factory=list)  # accepted or quarantined

    @property
    def arrivals(self) -> int:
        return self.files + self.duplicates + self.quarantined

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; ``file_ids`` as stretches of (first, last)."""
        return asdict(self) | {"file_ids": stretches(self.file_ids)}

    def counts(self) -> dict[str, Any]:
        """As the book of runs has it."""
        return {name: value for name, value in self.as_dict().items() if name != "run"}

    def sentence(self) -> str:
        if not self.arrivals and not self.left and not self.broken:
            return "No new files."
        said = (
            f"{self.files} files with {self.rows_in:,} rows: {self.rows_good:,} good, {self.rows_bad:,} bad; "
            f"{self.duplicates} duplicates, {self.quarantined} quarantined, {self.left} left for the next pass."
        )
        return " ".join([said, *(f"Broke off over {error}" for error in self.errors)])


@dataclass(slots=True)
class PartsPredicted:
    """What one pass over the waiting parts did."""

    parts: int = 0
    rows: int = 0
    failing: int = 0
    held: int = 0  # another pass works on them
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        if not self.parts and not self.failed and not self.held:
            return "No new good data."
        said = f"{self.parts} parts with {self.rows:,} rows predicted, {self.failing:,} of them failing."
        return " ".join([said, *(f"Failed: {error}" for error in self.errors)])


def stretches(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as stretches without a gap: (first, last), ascending."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
