"""What lies in the drop folder when the kills begin, and what a person does with the bad rows afterwards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from appliance.api import schema
from tests import profiles

SETTINGS = {"settle_seconds": 0.0, "part_rows": 12, "archive_days": 30}
# Order of arrival is order of mtime.
_BEGAN = 1_772_000_000


def first_shift(raw: Path) -> None:
    """One of each kind: clean, its duplicate, partly bad, empty, a link to elsewhere, and pumps that name themselves.

    Every machine is in one file only, so that its state does not hang on the order in which files are taken up.
    """
    clean = _mill([(40 + n, 10 * n) for n in range(3)] + [(70, 235)] * 4)
    _drop(raw / "milling" / "mill-1" / "clean.csv", clean, 1)
    _drop(raw / "milling" / "mill-1" / "again.csv", clean, 2)
    partly(raw)
    _drop(raw / "milling" / "mill-2" / "empty.csv", "", 4)
    _drop(raw / "pump" / "pumps.csv", _pump(), 5, "windows-1252")
    secret = raw.parent / "secret.txt"
    secret.write_text("not for the appliance")
    link = raw / "milling" / "mill-2" / "link.csv"
    link.symlink_to(secret)
    os.utime(link, (_BEGAN + 6, _BEGAN + 6), follow_symlinks=False)


def partly(raw: Path) -> None:
    """Three good rows and two bad ones."""
    _drop(raw / "milling" / "mill-2" / "partly.csv", _mill([(-5, 1), (40, 20), (450, 30), (41, 40), (42, 50)]), 3)


def simulated_shift(raw: Path) -> None:
    """The files of a simulator, of what a real machine drops and of what it does not; under the mark of such."""
    clean = _mill([(40 + n, 10 * n) for n in range(3)] + [(70, 235)] * 4)
    for name, second in (("demo-clean.csv", 11), ("demo-again.csv", 12)):
        _drop(raw / "milling" / "demo-mill-1" / name, clean, second)
    _drop(raw / "milling" / "demo-mill-2" / "demo-partly.csv", _mill([(-5, 1), (40, 20), (41, 30)]), 13)
    _drop(raw / "milling" / "demo-mill-2" / "demo-empty.csv", "", 14)
    _drop(raw / "pump" / "demo-pumps.csv", _pump(), 15, "windows-1252")


def more_simulated(raw: Path) -> None:
    """What lies in the drop folder when it is all removed."""
    _drop(raw / "milling" / "demo-mill-3" / "demo-late.csv", _mill([(40, 20)]), 21)
    (raw / ".demo-simulate-milling.json").write_text("{}")


def mended(raw: Path, bad: Path) -> None:
    """A person mends the rows of the first shift in a spreadsheet and drops the same file again."""
    (found,) = bad.rglob("partly.csv.*.csv")
    text = found.read_text(encoding="utf-8-sig")
    for wrong, right in ((",-5,", ",45,"), (",450,", ",45,")):
        assert wrong in text
        text = text.replace(wrong, right)
    _drop(raw / "milling" / "mill-2" / "partly mended.csv", text, 7)


def _drop(path: Path, text: str, second: int, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    os.utime(path, (_BEGAN + second, _BEGAN + second))


def _mill(rows: Sequence[tuple[float, int]]) -> str:
    """A file of the mill, of torques and tool wears."""
    header = schema.example_csv(profiles.load("milling")).splitlines()[0]
    lines = [f"{n},L{n:05d},L,298.1,308.6,1551,{torque},{wear}" for n, (torque, wear) in enumerate(rows, start=1)]
    return "\n".join([header, *lines]) + "\n"


def _pump() -> str:
    """Two pumps, one of which shakes more and more, is in alarm and comes to rest again; one reading is no number."""
    header = schema.example_csv(profiles.load("pump")).splitlines()[0]
    shaking = [2, 14, 16, 18, 20, *[2] * 13]
    lines = []
    for n, vibration in enumerate(shaking):
        at = f"01.03.2026 {8 + n // 6:02d}:{n % 6 * 10:02d}:00"
        lines.append(f"P-01;{at};water;{60 + vibration},5;{vibration},25;6,10")
        lines.append(f"P-02;{at};glycol;55,0;{'?' if n == 4 else '2,10'};6,00")
    return "\r\n".join([header, *lines]) + "\r\n"
