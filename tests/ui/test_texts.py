"""The catalogue of sentences: nothing is missing, nothing is left over, and another language says the same."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ui import pages, texts, words

UI = Path(texts.__file__).parent
FORMS = {"one", "other"}


def sentences(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, str | Mapping[str, str]]]:
    """(key, sentence or its forms)"""
    for name, value in table.items():
        key = f"{at}{name}"
        if isinstance(value, Mapping) and set(value) != FORMS:
            yield from sentences(value, f"{key}.")
        else:
            yield key, value


def asked() -> tuple[set[str], set[str]]:
    """Keys that the code names, and beginnings of those that it puts together."""
    keys, beginnings = set(), set()
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t"):
                continue
            key = node.args[0]
            if isinstance(key, ast.Constant):
                keys.add(str(key.value))
            elif isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
                beginnings.add(str(key.values[0].value))
            else:
                raise AssertionError(f"{path.name}:{node.lineno}: a key that begins with no word of its own")
    return keys, beginnings


def test_every_sentence_is_there_and_is_used() -> None:
    keys, beginnings = asked()
    known = dict(sentences(texts.catalogue(texts.DEFAULT)))
    assert keys - set(known) == set()
    unused = {key for key in known if key not in keys and not key.startswith(tuple(beginnings))}
    assert unused == set()
    for beginning in beginnings:
        assert any(key.startswith(beginning) for key in known), beginning


def test_every_page_and_state_has_a_name() -> None:
    known = dict(sentences(texts.catalogue(texts.DEFAULT)))
    assert {f"pages.{name}" for name in pages.NAMES} <= set(known)
    assert {f"state.{state}" for state in words.STATES} <= set(known)


@pytest.mark.parametrize("language", sorted(texts.languages() - {texts.DEFAULT}) or [texts.DEFAULT])
def test_another_language_says_the_same_with_the_same_values(language: str) -> None:
    ours, theirs = (dict(sentences(texts.catalogue(name))) for name in (texts.DEFAULT, language))
    assert set(theirs) == set(ours)
    for key, sentence in theirs.items():
        assert _values(sentence) == _values(ours[key]), key


def test_a_sentence_that_counts_goes_by_its_number() -> None:
    assert texts.t("overview.alarms", n=1) == "**1 open alarm.**"
    assert texts.t("overview.alarms", n=1234) == "**1,234 open alarms.**"
    with pytest.raises(KeyError, match=r"no\.such"):
        texts.t("no.such")


def _values(sentence: str | Mapping[str, str]) -> set[str]:
    forms = sentence.values() if isinstance(sentence, Mapping) else [sentence]
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name}
