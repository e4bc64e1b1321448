"""What came of a file, for the person who has to mend it: one self-contained HTML page, safe to open anywhere.

Names and cells in it come from strangers. Everything is escaped, and the page allows itself no script and no request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from jinja2 import Environment, StrictUndefined, Template

from appliance.errors import FileRefused
from appliance.names import printable
from appliance.profile import Profile
from appliance.quality import Issue, label, shortened
from appliance.sentences import ADVICE, words

_LEVELS = {"high": "High", "medium": "Medium", "low": "Low"}


@dataclass(frozen=True, slots=True)
class FileSummary:
    """``origin``: the machine that folder or file name says. ``refusal``: why the file was not read as a whole.
    ``bad_file``: name of the CSV of bad rows. ``arrived_at`` is shown in ``zone``."""

    profile: Profile
    name: str
    arrived_at: datetime
    rows: int
    good: int
    bad: int
    criticality: str
    issues: Sequence[Issue]
    origin: str = ""
    refusal: FileRefused | None = None
    bad_file: str = ""
    zone: str = "UTC"
    site: str = ""


def html(summary: FileSummary) -> str:
    """The page as text, to be written as UTF-8."""
    return _template().render(s=_view(summary))


@cache
def _template() -> Template:
    source = files("appliance").joinpath("templates/report.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)


def _view(s: FileSummary) -> Mapping[str, object]:
    verdict, meaning = _verdict(s)
    folder = f"raw_data/{s.profile.name}/"
    return {
        "name": printable(s.name),
        "title": s.profile.title,
        "origin": printable(s.origin),
        "site": printable(s.site),
        "arrived": f"{s.arrived_at.astimezone(ZoneInfo(s.zone)):%Y-%m-%d %H:%M} ({s.zone})",
        "level": s.criticality if s.criticality in _LEVELS else "low",
        "verdict": verdict,
        "meaning": meaning,
        "rows": f"{s.rows:,}" if s.rows else "",
        "good": f"{s.good:,}",
        "bad": f"{s.bad:,}",
        "bad_width": f"{100 * s.bad / s.rows:.2f}" if s.rows else "0",
        "issues": list(_issues(s)),
        "bad_file": printable(s.bad_file),
        "drop": f"{folder}{printable(s.origin)}/" if s.profile.machine.from_ == "folder" and s.origin else folder,
    }


def _verdict(s: FileSummary) -> tuple[str, str]:
    if s.refusal is not None:
        return "The file was not read", f"{printable(str(s.refusal))} It is kept unchanged in quarantine."
    if not s.bad:
        return "All rows are good", "Nothing has to be done."
    level = _LEVELS.get(s.criticality, s.criticality)
    said = "One row is" if s.bad == 1 else f"{s.bad:,} rows are"
    good = "The good rows are used." if s.good else "No row could be used."
    return f"{level} criticality", f"{said} bad, {_share(s.bad, s.rows)} of the file. {good}"


def _issues(s: FileSummary) -> Iterator[Mapping[str, object]]:
    for issue in s.issues:
        column = next((c for c in s.profile.columns if c.name == issue.column), None)
        said = words(s.profile, issue.rule, column)
        yield {
            "words": said[:1].upper() + said[1:],
            "column": label(s.profile, issue.column),
            "count": f"{issue.count:,}" if issue.count else "warning",
            "share": _share(issue.count, s.rows) if issue.count else "",
            "examples": [shortened(example) for example in issue.examples],
            "advice": ADVICE.get(issue.rule, ""),
        }


def _share(part: int, whole: int) -> str:
    """Rounded, but never to none or all where it is neither."""
    if not whole or part >= whole:
        return "100 %"
    share = 100 * part / whole
    if share < 0.1:
        return "under 0.1 %"
    return f"{min(share, 99.9):.1f} %"
