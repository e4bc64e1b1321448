"""What is around every page: who is signed in, who is not, what may be opened, and an API that goes away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ui.conftest import Browser, texts
from ui import pages
from ui.texts import t


def test_whom_nobody_knows_is_led_to_the_sign_in_and_back(browse: Callable[..., Browser]) -> None:
    at = browse(None)("machine", profile="milling", machine="mill-1")
    assert "Nobody is signed in here." in texts(at)
    link = texts(at)
    assert 'href="http://127.0.0.1:' in link
    assert "/sign-in?next=http%3A%2F%2F127.0.0.1%3A8501%2Fmachine%3Fmachine%3Dmill-1%26profile%3Dmilling" in link


def test_a_user_sees_who_they_are_and_signs_out(browse: Callable[..., Browser]) -> None:
    user = browse("operator")
    at = user("overview")
    assert "user\\-operator" in texts(at)
    at.button(key="sign_out").click()
    user.run(at)
    assert "The session is over" in texts(at) or "Nobody is signed in here." in texts(at)


@pytest.mark.parametrize("name", pages.NAMES)
def test_every_page_opens_on_a_box_that_nothing_came_to(browse: Callable[..., Browser], name: str) -> None:
    said = texts(browse("engineer")(name))
    assert t(f"pages.{name}") in said
    assert "Account" in said
