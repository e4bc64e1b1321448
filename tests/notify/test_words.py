"""Words of messages: whatever strangers call their files and machines, a phone shows it, and no chat acts upon it."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from appliance import notify_words
from appliance.notify_causes import AlarmCause, Cause, EventCause, FileCause, NoticeKind
from appliance.notify_words import BODY, LINES, TITLE, Message, Place

# Paragraphs and, in digests, one list: no heading, no table, no code, no page element.
ALLOWED = [
    "inline", "paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close", "list_item_open",
    "list_item_close",
]  # fmt: skip

PLACE = Place("north", "Europe/Berlin", "http://box.example:8000")
NOW = datetime(2026, 11, 24, 1, 14, tzinfo=UTC)

# What a stranger would write who knows chats.
evil = st.sampled_from(
    [
        "@everyone", "@here", "<!channel>", "<@U024BE7LH>", "[pay](http://evil.example)", "![x](http://evil.example/p.png)",
        "<b>", "<script>alert(1)</script>", "&lt;!here&gt;", "```", "](", "http://evil.example/a", "HTTPS://evil.example",
        "\x1b[31m", "\r\nBcc: all@example.com", "\u202egnp.exe", "\u200b", "\0", "\u2028", "<at>all</at>", "[", "(x)",
        "<http://evil.example|box>", "- ", "# ", "1. ", "> ", "---", "___", "***", "\ud800",
    ]
)  # fmt: skip


def _woven(parts: tuple[str, str, str, int]) -> str:
    return "".join(parts[:3]) * parts[3]


texts = st.one_of(
    st.text(max_size=60),
    evil.flatmap(lambda begin: st.text(max_size=9).map(lambda rest: begin + rest)),
    st.tuples(evil, st.text(max_size=8), evil, st.integers(1, 40)).map(_woven),
)
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))
counts = st.integers(0, 10**9)
details = st.dictionaries(st.sampled_from(["title", "text", "action"]), st.one_of(texts, st.none(), st.integers()))
alarms = st.builds(
    AlarmCause, texts, texts, moments, st.floats(0, 1), st.none() | counts, details, st.none() | moments,
    st.sampled_from([None, "calm", "outcome"]),
)  # fmt: skip
files = st.builds(
    FileCause, counts, texts, texts, texts, moments, counts, counts, st.none() | texts, st.none() | texts, st.booleans(),
    st.lists(st.tuples(texts, texts, counts), max_size=3).map(tuple),
)  # fmt: skip
events = st.builds(EventCause, texts, texts, moments, st.none() | counts)


def check(message: Message) -> None:
    assert len(message.title) <= TITLE
    assert len(message.body) <= BODY
    assert "\n" not in message.title
    assert message.title.startswith("north: ")
    for line in (message.title, *message.body.split("\n")):
        assert line
        for character in line:
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"), repr(line)
    theirs = message.title + "\n" + message.body.replace(PLACE.url, "")
    assert not re.search(r"[@<>`\[\]]", theirs)
    assert "://" not in theirs
    assert message.body.split("\n")[-1].startswith(PLACE.url), "the link is the last line, whole"


@given(st.one_of(alarms, files, events))
def test_any_words_of_strangers_come_out_tame(cause: Cause) -> None:
    check(notify_words.single(PLACE, cause))
    assert "\n" not in notify_words.line(PLACE, cause)


@given(
    st.lists(alarms, max_size=2),
    st.lists(files, max_size=2),
    st.lists(events, max_size=2),
    st.integers(1, 12),
    st.integers(0, 500),
    st.none() | st.tuples(st.integers(1, 10**6), moments, moments),
)
def test_a_digest_is_short_and_counts_all_of_it(
    some_alarms: list[Any], some_files: list[Any], some_events: list[Any], times: int, more: int, older: Any
) -> None:
    kinds: list[tuple[NoticeKind, list[Any]]] = [("alarm", some_alarms), ("file", some_files), ("event", some_events)]
    shown = [(kind, cause) for kind, causes in kinds for cause in causes * times]
    numbers: dict[NoticeKind, int] = {kind: len(causes) * times for kind, causes in kinds if causes}
    if more:
        numbers["event"] = numbers.get("event", 0) + more
    if not numbers and older is None:
        return
    message = notify_words.digest(PLACE, shown, numbers, older)
    check(message)
    lines = message.body.split("\n")
    told = sum(line.startswith("- ") for line in lines)
    assert told <= LINES
    left = sum(numbers.values()) - told
    assert (f"and {left:,} more" in lines) == (left > 0)
    if shown:
        assert told >= 1
    if older is not None:
        assert any(line.startswith(f"{older[0]:,} older message") for line in lines)


@given(st.one_of(alarms, files, events), st.booleans())
def test_as_markdown_it_reads_the_same_and_only_our_link_is_one(cause: Cause, many: bool) -> None:
    """Checked with a parser of CommonMark, which knows what services make of it."""
    counts: dict[NoticeKind, int] = {"event": 3}
    message = notify_words.digest(PLACE, [("event", cause)] * 3, counts) if many else notify_words.single(PLACE, cause)
    texts, links = [], []
    for block in MarkdownIt("commonmark").parse(notify_words.markdown(message.body)):
        assert block.type in ALLOWED, block.type
        text = ""
        for token in block.children or []:
            assert token.type in ("text", "text_special", "link_open", "link_close"), token.type
            text += token.content
            links += [str(token.attrs["href"])] if token.type == "link_open" else []
        texts += [text] if block.type == "inline" else []
    *lines, link = message.body.split("\n")
    assert texts == [*(line.removeprefix("- ").strip() for line in lines), "Open on the box"]
    assert links == [link]


def test_an_alarm_at_night() -> None:
    cause = AlarmCause(
        machine="mill-3",
        profile="milling",
        opened_at=NOW,
        probability=0.874,
        first_prediction_id=412,
        details={
            "mode": "overstrain",
            "title": "Overstrain",
            "text": "Strain 12,000 min N.m, limit 11,000",
            "action": "Lower the torque.",
        },
        closed_at=None,
        close_reason=None,
    )
    message = notify_words.single(PLACE, cause)
    assert message.title == "north: mill-3 is heading for failure"
    assert message.body.split("\n") == [
        "Overstrain: Strain 12,000 min N.m, limit 11,000.",
        "mill-3 (milling), probability 87%, since 24 Nov 02:14 (Europe/Berlin).",
        "What to do: Lower the torque.",
        "http://box.example:8000/predictions/412",
    ]
    assert message.tone == "failure"


def test_a_file_at_night() -> None:
    cause = FileCause(
        5, "night_shift [2].csv", "mill-3", "milling", NOW, 160, 120, None, None, True,
        (("range", "Torque [Nm]", 80), ("not_null", "speed", 40)),
    )  # fmt: skip
    message = notify_words.single(PLACE, cause)
    assert message.title == "north: 120 of 160 rows are bad in night_shift (2).csv"
    assert message.body.split("\n") == [
        "Most often: Torque (Nm) out of range (80); speed empty (40).",
        "night_shift (2).csv (mill-3, milling), arrived 24 Nov 02:14 (Europe/Berlin). The other 40 rows were taken.",
        "What to do: look at the report, put the cause right, and drop the mended bad rows again.",
        "http://box.example:8000/files/5/report",
    ]


def test_only_old_ones_are_a_message_of_one_number() -> None:
    message = notify_words.digest(PLACE, [], {}, (57, NOW - timedelta(days=9), NOW))
    assert message.title == "north: 57 older messages"
    assert (
        message.body
        == "57 older messages from 15 Nov 02:14 to 24 Nov 02:14: only counted here.\nhttp://box.example:8000"
    )
