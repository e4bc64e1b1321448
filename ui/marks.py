"""Signs of files, models, faults and services: a colour, an icon and a word, so that none of them carries it alone."""

from __future__ import annotations

from collections.abc import Mapping

from ui import words
from ui.texts import t

_MARKS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "criticality": {
        "high": ("red", "priority_high"),
        "medium": ("orange", "warning"),
        "low": ("green", "check"),
    },
    "file": {
        "ingested": ("gray", "hourglass_top"),
        "predicted": ("green", "done_all"),
        "synced": ("green", "cloud_done"),
        "evicted": ("gray", "inventory_2"),
        "quarantined": ("red", "block"),
        "failed": ("red", "error"),
    },
    "model": {
        "serving": ("green", "play_circle"),
        "chosen": ("orange", "hourglass_top"),
        "resting": ("gray", "inventory_2"),
        "spoiled": ("red", "gpp_bad"),
    },
    "fault": {
        "fault": ("red", "error"),
        "warning": ("orange", "warning"),
        "none": ("green", "check_circle"),
    },
    "service": {
        "active": ("green", "check"),
        "activating": ("orange", "hourglass_top"),
        "inactive": ("gray", "pause"),
        "failed": ("red", "error"),
    },
    "run": {
        "done": ("green", "check"),
        "skipped": ("gray", "skip_next"),
        "failed": ("red", "error"),
        "under_way": ("blue", "hourglass_top"),
    },
}
_OTHER = ("gray", "help")


def mark(kind: str, value: str) -> str:
    """Markdown of a sign; a value that this version does not know is shown as it came."""
    known = value in _MARKS[kind]
    colour, icon = _MARKS[kind].get(value, _OTHER)
    text = t(f"mark.{kind}.{value}") if known else words.plain(value)
    return f":{colour}-badge[:material/{icon}: {text}]"
