from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict, NotFound, UsageError
from appliance.store import queries, sessions, users
from appliance.store.engine import transaction
from tests.unit.store import made

DAY = timedelta(days=1)
IDLE = timedelta(hours=12)


def ann(conn: Connection, role: Any = "operator", name: str = "ann", **more: Any) -> users.User:
    """A user who has chosen a password."""
    users.set_password(conn, users.add(conn, name, role, **more), "kept")
    return users.get(conn, name)


def later(conn: Connection, span: str, table: str = "session") -> None:
    """So much time passes for all rows of a table."""
    columns = {"session": ("created_at", "expires_at", "last_used_at"), "link": ("created_at", "expires_at")}
    columns["user"] = ("locked_until",)
    sets = ", ".join(f"{column} = {column} - interval '{span}'" for column in columns[table])
    conn.execute(text(f'UPDATE "{table}" SET {sets}'))


def events(conn: Connection) -> list[str]:
    return list(conn.execute(text("SELECT kind FROM event ORDER BY id")).scalars())


# Users


def test_a_user_has_no_password_until_one_is_chosen(conn: Connection) -> None:
    user = users.add(conn, " Ann@Plant.example ", "viewer")
    assert (user.name, user.role, user.has_password, user.last_login_at) == ("ann@plant.example", "viewer", False, None)
    tried = users.begin_try(conn, "ANN@plant.example")
    assert tried is not None
    assert tried.password_hash is None
    users.set_password(conn, user, "kept")
    assert users.get(conn, "ann@plant.example").has_password
    assert "kept" not in str(users.users(conn))


@pytest.mark.parametrize(
    "name", ["", " ", "-ann", "ann bob", "ann:bob", "änn", "a" * 65, "a\nb", "a\0b", "a/b", "\udcff"]
)
def test_names_that_cannot_stand_in_a_ledger_are_refused(conn: Connection, name: str) -> None:
    with pytest.raises(UsageError):
        users.add(conn, name, "viewer")
    assert users.users(conn) == []
    assert users.find(conn, name) is None


def test_a_name_is_given_once_however_it_is_written(conn: Connection) -> None:
    users.add(conn, "ann", "viewer")
    with pytest.raises(Conflict):
        users.add(conn, "Ann", "admin")
    assert users.get(conn, "ann").role == "viewer"


@pytest.mark.parametrize(("role", "station"), [("king", False), ("engineer", True), ("admin", True)])
def test_a_role_that_cannot_be_is_refused(conn: Connection, role: Any, station: bool) -> None:
    with pytest.raises(UsageError):
        users.add(conn, "a", role, station=station)
    users.add(conn, "a", "operator", station=station)
    with pytest.raises(UsageError):
        users.set_role(conn, "a", role)
    assert users.get(conn, "a").role == "operator"


def test_nobody_is_changed_who_is_not_there(conn: Connection) -> None:
    for change in (
        lambda: users.set_role(conn, "bob", "viewer"),
        lambda: users.set_disabled(conn, "bob", True),
        lambda: users.remove(conn, "bob"),
        lambda: sessions.make_link(conn, "bob", "welcome", DAY),
    ):
        with pytest.raises(NotFound) as refused:
            change()
        assert "'bob'" in refused.value.message


def test_what_changes_rights_is_an_event(conn: Connection) -> None:
    ann(conn)
    users.set_role(conn, "ann", "viewer")
    users.set_role(conn, "ann", "viewer")
    users.set_disabled(conn, "ann", True)
    users.set_disabled(conn, "ann", True)
    users.set_disabled(conn, "ann", False)
    link = sessions.make_link(conn, "ann", "welcome", DAY)
    users.remove(conn, "ann")
    told = ["user_added", "user_password", "user_role", "user_disabled", "user_enabled", "user_link", "user_removed"]
    assert events(conn) == told
    assert link.rpartition("/")[2] not in str(conn.execute(text("SELECT event::text FROM event")).all())


@pytest.mark.parametrize("change", ["role", "disabled", "removed", "password"])
def test_what_changes_rights_ends_sessions(conn: Connection, change: str) -> None:
    user = ann(conn)
    ann(conn, name="bob")
    plain = sessions.start(conn, user, DAY)
    bobs = sessions.start(conn, users.get(conn, "bob"), DAY)
    match change:
        case "role":
            users.set_role(conn, "ann", "viewer")
        case "disabled":
            users.set_disabled(conn, "ann", True)
            users.set_disabled(conn, "ann", False)
        case "removed":
            users.remove(conn, "ann")
        case "password":
            users.set_password(conn, user, "other")
    assert sessions.find(conn, plain, IDLE) is None
    assert sessions.find(conn, bobs, IDLE) is not None


def test_the_first_administrator_gets_links_until_one_has_come(conn: Connection) -> None:
    first = users.first_administrator(conn)
    assert first is not None
    assert (first.name, first.role) == ("admin", "admin")
    assert users.first_administrator(conn) == first
    ann(conn, "engineer")
    assert users.first_administrator(conn) == first
    users.set_password(conn, first, "kept")
    assert users.first_administrator(conn) is None
    users.set_disabled(conn, "admin", True)
    assert users.first_administrator(conn) is None


def test_another_administrator_is_one_too(conn: Connection) -> None:
    ann(conn, "admin")
    assert users.first_administrator(conn) is None
    assert [user["name"] for user in users.users(conn)] == ["ann"]


def test_the_name_of_the_first_administrator_may_be_taken(conn: Connection) -> None:
    ann(conn, "viewer", name="admin")
    with pytest.raises(Conflict):
        users.first_administrator(conn)


def test_people_are_no_stations(conn: Connection) -> None:
    ann(conn)
    ann(conn, name="bob")
    users.set_disabled(conn, "bob", True)
    users.add(conn, "station-1", "operator", station=True)
    assert users.people(conn) == ["ann"]


# Guessing


def guess(conn: Connection, name: str = "ann") -> users.Try:
    tried = users.begin_try(conn, name)
    assert tried is not None
    return tried


def test_the_fifth_wrong_password_locks_and_each_further_one_for_longer(conn: Connection) -> None:
    ann(conn)
    before = len(events(conn))
    for number in range(1, 5):
        tried = guess(conn)
        assert (tried.tries, tried.wait, tried.password_hash) == (number, 0, "kept")
        users.failed(conn, tried, "10.0.0.1")
    assert len(events(conn)) == before
    for seconds in (30, 60, 120, 240, 480, 900, 900, 900):
        users.failed(conn, guess(conn), "10.0.0.1")
        locked = guess(conn)
        assert locked.password_hash is None
        assert seconds - 20 < locked.wait <= seconds
        assert users.users(conn)[0]["locked_until"] is not None
        later(conn, f"{seconds} seconds", "user")
    assert events(conn)[before:] == ["sign_in_locked"] * 8
    assert guess(conn).wait == 0


def test_a_right_password_starts_the_count_anew(conn: Connection) -> None:
    ann(conn)
    for _ in range(4):
        guess(conn)
    assert users.passed(conn, guess(conn))
    assert guess(conn).tries == 1
    seen = users.get(conn, "ann").last_login_at
    assert seen is not None
    assert users.users(conn)[0]["locked_until"] is None


def test_a_new_password_ends_the_lock(conn: Connection) -> None:
    user = ann(conn)
    for _ in range(5):
        guess(conn)
    assert guess(conn).wait > 0
    users.set_password(conn, user, "other")
    assert (guess(conn).tries, guess(conn).password_hash) == (1, "other")


def test_a_clock_that_was_wrong_locks_nobody_out_for_years(conn: Connection) -> None:
    ann(conn)
    conn.execute(text("UPDATE \"user\" SET failed_tries = 9, locked_until = now() + interval '3 years'"))
    assert guess(conn).wait == 0


def test_many_guesses_at_once_are_no_more_than_one_by_one(engine: Engine) -> None:
    with transaction(engine) as conn:
        ann(conn)
    ready = threading.Barrier(8)

    def at_once(_: int) -> int:
        ready.wait(10)
        with transaction(engine) as own:
            return guess(own).wait

    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(at_once, range(8)))
    assert waits.count(0) == 5


def test_a_password_that_was_changed_meanwhile_lets_nobody_in(conn: Connection) -> None:
    user = ann(conn)
    tried = guess(conn)
    users.set_password(conn, user, "other")
    assert not users.passed(conn, tried)
    tried = guess(conn)
    users.set_disabled(conn, "ann", True)
    assert not users.passed(conn, tried)
    users.set_disabled(conn, "ann", False)
    tried = guess(conn)
    users.remove(conn, "ann")
    assert not users.passed(conn, tried)
    assert users.begin_try(conn, "ann") is None


def test_a_hash_of_older_parameters_is_renewed(conn: Connection) -> None:
    ann(conn)
    assert users.passed(conn, guess(conn), "newer")
    assert guess(conn).password_hash == "newer"


# Sessions


def test_a_session_is_kept_as_a_hash_and_found_by_what_the_browser_holds(conn: Connection) -> None:
    user = ann(conn)
    plain = sessions.start(conn, user, DAY)
    assert len(plain) == sessions.LENGTH
    assert sessions.start(conn, user, DAY) != plain
    found = sessions.find(conn, plain, IDLE)
    assert found is not None
    assert found.user.name == "ann"
    assert timedelta() < found.expires_at - queries.clock(conn) <= DAY
    kept = str(conn.execute(text("SELECT session::text FROM session")).all())
    assert made.digest(plain) in kept
    assert plain not in kept
    for wrong in ("", plain[:-1], plain + "x", made.digest(plain), "\0", "\udcff"):
        assert sessions.find(conn, wrong, IDLE) is None


def test_a_session_ends_without_use_and_at_its_end_in_any_case(conn: Connection) -> None:
    plain = sessions.start(conn, ann(conn), timedelta(days=2))
    for _ in range(4):
        later(conn, "11 hours")
        assert sessions.find(conn, plain, IDLE) is not None
    later(conn, "11 hours")
    assert sessions.find(conn, plain, IDLE) is None
    resting = sessions.start(conn, users.get(conn, "ann"), timedelta(days=2))
    later(conn, "12 hours")
    assert sessions.find(conn, resting, IDLE) is None
    assert sessions.forget(conn, IDLE) == 2


def test_a_station_may_rest(conn: Connection) -> None:
    station = ann(conn, name="station-1", station=True)
    plain = sessions.start(conn, station, timedelta(days=180))
    later(conn, "179 days")
    assert sessions.forget(conn, IDLE) == 0
    assert sessions.find(conn, plain, IDLE) is not None
    later(conn, "2 days")
    assert sessions.find(conn, plain, IDLE) is None


def test_a_disabled_user_is_out_even_if_a_session_were_left(conn: Connection) -> None:
    user = ann(conn)
    users.set_disabled(conn, "ann", True)
    assert sessions.find(conn, sessions.start(conn, user, DAY), IDLE) is None


def test_signing_out_here_and_everywhere_else(conn: Connection) -> None:
    user = ann(conn)
    here, there, elsewhere = (sessions.start(conn, user, DAY) for _ in range(3))
    assert [session["own"] for session in sessions.of(conn, user, here, IDLE)].count(True) == 1
    sessions.end(conn, there)
    assert sessions.find(conn, there, IDLE) is None
    assert sessions.end_others(conn, user, here) == 1
    assert sessions.find(conn, elsewhere, IDLE) is None
    assert sessions.find(conn, here, IDLE) is not None
    assert len(sessions.of(conn, user, here, IDLE)) == 1


def test_the_last_use_is_noted_now_and_then_and_waits_for_nobody(engine: Engine) -> None:
    with transaction(engine) as conn:
        plain = sessions.start(conn, ann(conn), DAY)

    def noted() -> Any:
        with transaction(engine) as conn:
            assert sessions.find(conn, plain, IDLE) is not None
            return conn.execute(text("SELECT last_used_at FROM session")).scalar_one()

    assert noted() is None
    with transaction(engine) as conn:
        later(conn, "2 minutes")
    first = noted()
    assert first is not None
    assert noted() == first
    with transaction(engine) as conn:
        later(conn, "2 minutes")
    with transaction(engine) as slow:
        assert sessions.find(slow, plain, IDLE) is not None
        with transaction(engine) as quick:
            quick.execute(text("SET LOCAL lock_timeout = '50ms'"))
            assert sessions.find(quick, plain, IDLE) is not None


# Links


def secret(path: str) -> str:
    return path.rpartition("/")[2]


def test_a_link_works_once_and_for_its_end_alone(conn: Connection) -> None:
    users.add(conn, "ann", "viewer")
    path = sessions.make_link(conn, "Ann", "welcome", DAY)
    assert path == f"/welcome/{secret(path)}"
    link = secret(path)
    assert made.digest(link) == conn.execute(text("SELECT hash FROM link")).scalar_one()
    for _ in range(2):
        found = sessions.look_at_link(conn, link, "welcome")
        assert found is not None
        assert found.name == "ann"
    with pytest.raises(NotFound):
        sessions.use_link(conn, link, "enter")
    assert sessions.use_link(conn, link, "welcome").name == "ann"
    assert sessions.look_at_link(conn, link, "welcome") is None
    with pytest.raises(NotFound):
        sessions.use_link(conn, link, "welcome")


def test_a_link_is_used_by_one_of_many_at_once(engine: Engine) -> None:
    with transaction(engine) as conn:
        users.add(conn, "ann", "viewer")
        link = secret(sessions.make_link(conn, "ann", "welcome", DAY))
    ready = threading.Barrier(6)

    def use(_: int) -> bool:
        ready.wait(10)
        try:
            with transaction(engine) as own:
                sessions.use_link(own, link, "welcome")
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(use, range(6))).count(True) == 1


def test_a_newer_link_takes_the_place_of_an_older_one(conn: Connection) -> None:
    users.add(conn, "ann", "viewer")
    older, newer = (secret(sessions.make_link(conn, "ann", "welcome", DAY)) for _ in range(2))
    entry = secret(sessions.make_link(conn, "ann", "enter", DAY))
    assert sessions.look_at_link(conn, older, "welcome") is None
    assert sessions.look_at_link(conn, newer, "welcome") is not None
    assert sessions.look_at_link(conn, entry, "enter") is not None
    users.set_password(conn, users.get(conn, "ann"), "kept")
    assert sessions.look_at_link(conn, newer, "welcome") is None
    assert sessions.look_at_link(conn, entry, "enter") is None


def test_a_link_ends_with_its_time_and_with_its_user(conn: Connection) -> None:
    users.add(conn, "ann", "viewer")
    link = secret(sessions.make_link(conn, "ann", "welcome", DAY))
    later(conn, "23 hours", "link")
    assert sessions.look_at_link(conn, link, "welcome") is not None
    later(conn, "1 hour", "link")
    assert sessions.look_at_link(conn, link, "welcome") is None
    assert sessions.forget(conn, IDLE) == 1
    link = secret(sessions.make_link(conn, "ann", "welcome", DAY))
    users.set_disabled(conn, "ann", True)
    assert sessions.look_at_link(conn, link, "welcome") is None
    with pytest.raises(Conflict):
        sessions.make_link(conn, "ann", "welcome", DAY)
    users.remove(conn, "ann")
    assert conn.execute(text("SELECT count(*) FROM link")).scalar_one() == 0


def test_a_demo_opens_signed_in(conn: Connection) -> None:
    first, second = (sessions.entry(conn, "demo", "engineer", DAY) for _ in range(2))
    assert first.startswith("/enter/")
    assert sessions.look_at_link(conn, secret(first), "enter") is None
    assert sessions.use_link(conn, secret(second), "enter").role == "engineer"
    assert not users.get(conn, "demo").has_password


def test_who_was_disabled_meanwhile_does_not_arrive(conn: Connection) -> None:
    user = ann(conn)
    assert users.arrived(conn, user)
    users.set_disabled(conn, "ann", True)
    assert not users.arrived(conn, user)
