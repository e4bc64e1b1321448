"""The report says what happened, to a person, and runs nothing that strangers wrote."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from appliance.errors import FileRefused
from appliance.quality import Issue, criticality, describe
from appliance.report import FileSummary, html
from appliance.sentences import ADVICE, DAMAGE
from tests import profiles
from tests.unit.quality.made import NOW

HOSTILE = "<script>alert(1)</script><img src=x onerror=y>\"'&\u202e\x1b"
SUMMARY = FileSummary(
    profiles.load("milling"), "shift 1.csv", NOW, 1000, 790, 210, "medium",
    [Issue("range", "torque", 200, ("250.0", "999")), Issue("cells", "", 10, ("3 of 8 cells",)), Issue("extra_column", "Spindle", 0)],
    origin="mill-3", bad_file="shift 1.csv.17.csv", zone="Europe/Berlin", site="north",
)  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen = ""
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.seen += " " + data.strip()


def test_it_says_what_came_what_is_wrong_and_what_to_do() -> None:
    seen = re.sub(r"\s+", " ", Page(html(SUMMARY)).seen)
    for words in (
        "shift 1.csv", "Milling machine", "mill-3", "2026-04-01 14:00 (Europe/Berlin)", "Medium criticality", "210 rows are bad, 21.0 %",
        "1,000 rows came in", "790 are good", "Outside of 0 to 100 N.m", "Torque [Nm]", "200 20.0 %", "250.0", "999", ADVICE["range"],
        "3 of 8 cells", "Spindle", "warning", "shift 1.csv.17.csv", "_reasons", "raw_data/milling/mill-3/",
    ):  # fmt: skip
        assert words in seen, words


def test_a_refused_file_says_why_and_where_it_is() -> None:
    refusal = FileRefused("encoding", "The file looks like UTF-16.", "Export it as UTF-8.")
    summary = dataclasses.replace(
        SUMMARY, rows=0, good=0, bad=0, issues=[], refusal=refusal, bad_file="", criticality="high"
    )
    seen = Page(html(summary)).seen
    assert "The file was not read" in seen
    assert "The file looks like UTF-16. Export it as UTF-8." in seen
    assert "quarantine" in seen
    assert "rows came in" not in seen


def test_a_file_without_bad_rows_asks_for_nothing() -> None:
    seen = Page(html(dataclasses.replace(SUMMARY, bad=0, good=1000, issues=[], bad_file="", criticality="low"))).seen
    assert "All rows are good" in seen
    assert "mend" not in seen


def test_nothing_of_a_stranger_becomes_part_of_the_page() -> None:
    calm = Page(html(SUMMARY))
    summary = dataclasses.replace(
        SUMMARY, name=HOSTILE, origin=HOSTILE, bad_file=HOSTILE, site=HOSTILE, criticality='"><script>',
        issues=[Issue("range", "torque", 200, (HOSTILE, HOSTILE)), Issue("cells", "", 10, (HOSTILE,)), Issue("extra_column", HOSTILE, 0)],
        refusal=FileRefused("header", HOSTILE, HOSTILE),
    )  # fmt: skip
    text = html(summary)
    wild = Page(text)
    kinds = {(tag, *sorted(attributes)) for tag, attributes in wild.tags}
    assert kinds <= {(tag, *sorted(attributes)) for tag, attributes in calm.tags}
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "<script" not in text


def test_the_page_needs_and_allows_nothing_from_outside() -> None:
    text = html(SUMMARY)
    assert not re.search(r"(?i)\b(src|href|action)\s*=|url\(|@import|javascript:", text)
    policy = next(a["content"] for t, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_every_rule_has_words_and_advice() -> None:
    profile = profiles.load("pump")
    column = {"time": "measured_at", "category": "fluid", "machine": "pump", "pattern": "pump"}
    for rule in ADVICE:
        said = describe(profile, Issue(rule, column.get(rule, "vibration"), 1))
        assert said.split(": ")[-1].lower() not in ADVICE
    assert {rule for rule, _ in DAMAGE.values()} <= set(ADVICE)


@pytest.mark.parametrize(
    ("rows", "bad", "level"),
    [
        (100, 0, "low"),
        (100, 19, "low"),
        (100, 20, "medium"),
        (100, 49, "medium"),
        (100, 50, "high"),
        (1, 1, "high"),
        (0, 0, "high"),
    ],
)
def test_criticality_is_the_share_of_bad_rows(rows: int, bad: int, level: str) -> None:
    assert criticality(rows, bad, 0.5, 0.2) == level
