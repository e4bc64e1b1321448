"""Who guesses tokens: slowed down however many guess at once, and told nothing by the time that it takes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, event

from appliance.api.auth import COOKIE
from appliance.settings import Settings
from appliance.store import sessions
from tests.api.conftest import People

AT_ONCE = 40
# As long as a real one, so that nothing refuses it before it is looked for.
GUESS = "fa_" + "x" * 43


@pytest.fixture
def asked(engine: Engine) -> Iterator[list[str]]:
    """All that goes to the database: statements and their values."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        seen.append(f"{statement} {values!r}")

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_many_guesses_at_once_are_counted_one_by_one(people: People, settings: Settings) -> None:
    nobody, viewer = people.nobody, people("viewer")

    def guess(number: int) -> int:
        return nobody.get("/files", headers={"authorization": f"Bearer {GUESS}{number}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        working = pool.submit(lambda: [viewer.get("/files").status_code for _ in range(10)])
        said = Counter(pool.map(guess, range(AT_ONCE)))
        assert set(working.result()) == {200}, "who has a token works on"
    allowed = settings.api_guesses_per_minute
    assert said == {401: allowed, 429: AT_ONCE - allowed}


@pytest.mark.parametrize("how", ["token", "session"])
def test_what_is_guessed_is_compared_as_a_hash_alone(people: People, asked: list[str], how: str) -> None:
    """How much of a guess is right shows in no comparison: the database gets its SHA-256, and finds that by an index."""
    secret = GUESS if how == "token" else "x" * sessions.LENGTH
    sent = {"authorization": f"Bearer {secret}"} if how == "token" else {"cookie": f"{COOKIE}={secret}"}
    assert people.nobody.get("/files", headers=sent).status_code == 401
    assert any(hashlib.sha256(secret.encode()).hexdigest() in one for one in asked)
    assert not any(secret in one for one in asked)
