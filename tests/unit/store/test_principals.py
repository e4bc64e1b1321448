# ruff: noqa: PT012  (what a transaction raises comes at the end of its block)
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict, KeyReused, NotFound, UsageError
from appliance.store import principals, queries
from appliance.store.engine import transaction
from tests.unit.store import made

BODY = made.digest("body")


def test_a_token_is_found_by_what_was_shown_once(conn: Connection) -> None:
    plain = principals.create_token(conn, "press", "operator", "scheduled")
    other = principals.create_token(conn, "ui", "viewer", "webapp")
    assert plain != other
    assert len(plain) > 40
    found = principals.find_token(conn, plain)
    assert found is not None
    assert (found.name, found.role, found.source, found.expires_at) == ("press", "operator", "scheduled", None)
    for wrong in (plain[:-1], plain + "x", "", "\0", "\udcff", plain.upper(), made.digest(plain)):
        assert principals.find_token(conn, wrong) is None


def test_a_token_is_kept_as_a_hash(conn: Connection) -> None:
    plain = principals.create_token(conn, "press", "operator", "scheduled")
    assert conn.execute(text("SELECT hash FROM token")).scalar_one() == made.digest(plain)
    row = str(conn.execute(text("SELECT token::text FROM token")).scalar_one())
    assert plain.removeprefix(principals.TOKEN_PREFIX) not in row
    assert "hash" not in principals.tokens(conn)[0]


def test_a_revoked_token_lets_nobody_in(conn: Connection) -> None:
    plain = principals.create_token(conn, "press", "operator", "api")
    with pytest.raises(Conflict):
        principals.create_token(conn, "press", "viewer", "api")
    principals.revoke_token(conn, "press")
    assert principals.find_token(conn, plain) is None
    with pytest.raises(NotFound):
        principals.revoke_token(conn, "press")
    again = principals.create_token(conn, "press", "viewer", "api")
    found = principals.find_token(conn, again)
    assert found is not None
    assert found.role == "viewer"
    assert [token["revoked_at"] is None for token in principals.tokens(conn)] == [False, True]


def test_a_token_expires(conn: Connection) -> None:
    now = queries.clock(conn)
    gone = principals.create_token(conn, "gone", "viewer", "api", expires_at=now)
    valid = principals.create_token(conn, "valid", "viewer", "api", lifetime=timedelta(days=2))
    assert principals.find_token(conn, gone) is None
    found = principals.find_token(conn, valid)
    assert found is not None
    assert found.expires_at is not None
    assert timedelta(days=2) <= found.expires_at - now < timedelta(days=2, minutes=1)


@pytest.mark.parametrize(
    ("name", "role", "source"),
    [("a", "king", "api"), ("a", "viewer", "rumour"), ("", "viewer", "api"), (" ", "viewer", "api")],
)
def test_wrong_words_are_told(conn: Connection, name: str, role: Any, source: Any) -> None:
    with pytest.raises(UsageError):
        principals.create_token(conn, name, role, source)
    assert principals.tokens(conn) == []


def test_the_last_use_is_noted_now_and_then(engine: Engine) -> None:
    with transaction(engine) as conn:
        plain = principals.create_token(conn, "press", "operator", "api")

    def noted() -> Any:
        with transaction(engine) as conn:
            assert principals.find_token(conn, plain) is not None
        with transaction(engine) as conn:
            return conn.execute(text("SELECT last_used_at FROM token")).scalar_one()

    first = noted()
    assert first is not None
    assert noted() == first
    with transaction(engine) as conn:
        conn.execute(text("UPDATE token SET last_used_at = last_used_at - interval '2 minutes'"))
    assert noted() > first


def test_a_long_transaction_of_a_token_holds_up_nobody_else_with_it(engine: Engine) -> None:
    with transaction(engine) as conn:
        plain = principals.create_token(conn, "press", "operator", "api")
    with transaction(engine) as slow:
        assert principals.find_token(slow, plain) is not None
        with transaction(engine) as quick:
            quick.execute(text("SET LOCAL lock_timeout = '50ms'"))
            assert principals.find_token(quick, plain) is not None


def test_an_answer_is_given_again(engine: Engine) -> None:
    with transaction(engine) as conn:
        assert principals.recall(conn, "press", "k", BODY) is None
        principals.remember(conn, "press", "k", BODY, {"first_id": 7})
    with transaction(engine) as conn:
        assert principals.recall(conn, "press", "k", BODY) == {"first_id": 7}
        with pytest.raises(KeyReused):
            principals.recall(conn, "press", "k", made.digest("other"))
        # Keys of others are others.
        assert principals.recall(conn, "ui", "k", BODY) is None
        assert principals.recall(conn, "press", "\0\udcff", BODY) is None


def test_a_request_that_failed_leaves_its_key_free(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        assert principals.recall(conn, "press", "k", BODY) is None
        raise RuntimeError
    with transaction(engine) as conn:
        assert principals.recall(conn, "press", "k", made.digest("other")) is None


def test_the_second_of_two_with_one_key_waits_and_gets_the_answer_of_the_first(engine: Engine) -> None:
    asked = threading.Barrier(8)
    worked = []

    def request(number: int) -> Any:
        asked.wait(10)
        with transaction(engine) as conn:
            known = principals.recall(conn, "press", "k", BODY)
            if known is not None:
                return known
            worked.append(number)
            threading.Event().wait(0.1)
            principals.remember(conn, "press", "k", BODY, {"by": number})
            return {"by": number}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(request, range(8)))
    assert len(worked) == 1
    assert answers == [{"by": worked[0]}] * 8


def test_when_the_first_of_two_fails_the_second_works(engine: Engine) -> None:
    began = threading.Event()

    def first() -> None:
        with transaction(engine) as conn:
            principals.recall(conn, "press", "k", BODY)
            began.set()
            threading.Event().wait(0.1)
            conn.rollback()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(first)
        began.wait(10)
        with transaction(engine) as conn:
            assert principals.recall(conn, "press", "k", BODY) is None


def test_who_waits_too_long_for_the_first_is_told_to_come_again(engine: Engine) -> None:
    with transaction(engine) as slow:
        principals.recall(slow, "press", "k", BODY)
        with pytest.raises(Conflict), transaction(engine) as conn:
            conn.execute(text("SET LOCAL lock_timeout = '30ms'"))
            principals.recall(conn, "press", "k", BODY)


def test_an_answer_is_kept_only_by_who_asked_first(conn: Connection) -> None:
    with pytest.raises(ValueError, match="recall"):
        principals.remember(conn, "press", "k", BODY, {})


def test_old_keys_are_forgotten(conn: Connection) -> None:
    principals.recall(conn, "press", "old", BODY)
    conn.execute(text("UPDATE request SET created_at = created_at - interval '2 days'"))
    principals.recall(conn, "press", "new", BODY)
    assert principals.forget_requests(conn, queries.clock(conn) - timedelta(days=1)) == 1
    assert conn.execute(text("SELECT key FROM request")).scalars().all() == ["new"]
