# ruff: noqa: PT012  (what a transaction raises comes at the end of its block)
from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from appliance.errors import Conflict, NotFound, SettingError, StoreAway
from appliance.store import embedded, writer
from appliance.store import engine as engines
from appliance.store.engine import storable, to_json, transaction
from appliance.store.migrations import migrate
from tests.conftest import serve
from tests.unit.store import made


@pytest.fixture(params=["embedded", "debian"])
def own(request: pytest.FixtureRequest, open_path: Path) -> tuple[str, Path]:
    """A server that the test may stop and start: its kind and folder."""
    return request.param, open_path


@pytest.mark.parametrize(
    "dsn", ["", "nonsense", "mysql://u:secret@h/x", "host=/tmp dbname=secret", "postgresql://u:secret@h:port/x"]
)
def test_a_wrong_dsn_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(SettingError) as refused:
        engines.connect(dsn)
    assert "secret" not in str(refused.value)


def test_sessions_speak_utc_and_have_limits(engine: Engine) -> None:
    with transaction(engine) as conn:
        for name, value in {
            "TimeZone": "UTC",
            "statement_timeout": "2min",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "5min",
            "application_name": "tests",
            "jit": "off",
        }.items():
            assert conn.execute(text("SELECT current_setting(:name)"), {"name": name}).scalar_one() == value


def test_options_of_the_dsn_are_kept(dsn: str) -> None:
    engine = engines.connect(f"{dsn}&options=-c%20work_mem%3D5MB")
    with transaction(engine) as conn:
        assert conn.execute(text("SHOW work_mem")).scalar_one() == "5MB"
        assert conn.execute(text("SHOW timezone")).scalar_one() == "UTC"
    engine.dispose()


def test_a_transaction_commits_at_its_end_and_not_before(engine: Engine) -> None:
    with transaction(engine) as conn:
        made.plant(conn)
        with transaction(engine) as other:
            assert other.execute(text("SELECT count(*) FROM profile")).scalar_one() == 0
    with transaction(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM profile")).scalar_one() == 1


@pytest.mark.parametrize("error", [NotFound("gone"), ValueError("wrong"), KeyboardInterrupt()])
def test_any_error_rolls_back_and_is_passed_on(engine: Engine, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, transaction(engine) as conn:
        made.plant(conn)
        raise error
    assert raised.value is error
    with transaction(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM profile")).scalar_one() == 0


def test_an_error_of_the_database_that_is_none_of_the_connection_is_passed_on(engine: Engine) -> None:
    with pytest.raises(IntegrityError, match="ck_token_role"), transaction(engine) as conn:
        conn.execute(
            text("INSERT INTO token (name, hash, role, source) VALUES ('a', :h, 'king', 'api')"),
            {"h": made.digest(1)},
        )


def test_no_server_is_store_away(tmp_path: Path) -> None:
    engine = engines.connect(f"postgresql://postgres@/x?host={tmp_path}")
    with pytest.raises(StoreAway, match="cannot be reached"):
        engines.ping(engine)
    assert StoreAway("x").status == 503


def test_no_such_database_is_store_away(engine: Engine) -> None:
    other = engines.connect(str(engine.url.set(database="nowhere")).replace("+psycopg2", ""))
    with pytest.raises(StoreAway, match="nowhere"):
        engines.ping(other)


def test_a_session_that_is_ended_in_mid_transaction_is_store_away_and_the_next_one_works(engine: Engine) -> None:
    def end(pid: int) -> None:
        with transaction(engine) as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with pytest.raises(StoreAway), transaction(engine) as conn:
        end(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
        conn.execute(text("SELECT 1"))
    with pytest.raises(StoreAway), transaction(engine) as conn:
        end(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
        # Nothing more is said to the server before the commit.
    # An error of the caller's own stays what it is, though the rollback cannot be had.
    with pytest.raises(NotFound), transaction(engine) as conn:
        end(conn.execute(text("SELECT pg_backend_pid()")).scalar_one())
        raise NotFound("gone")
    engines.ping(engine)


def test_a_lock_that_is_not_had_in_time_is_a_conflict(engine: Engine) -> None:
    with transaction(engine) as holder:
        holder.execute(text("SELECT pg_advisory_xact_lock(1)"))
        with pytest.raises(Conflict), transaction(engine) as conn:
            conn.execute(text("SET LOCAL lock_timeout = '20ms'"))
            conn.execute(text("SELECT pg_advisory_xact_lock(1)"))


def test_a_statement_that_takes_too_long_is_store_away(engine: Engine) -> None:
    with pytest.raises(StoreAway, match="too long"), transaction(engine) as conn:
        conn.execute(text("SET LOCAL statement_timeout = '20ms'"))
        conn.execute(text("SELECT pg_sleep(5)"))


def test_a_server_that_stops_is_store_away_until_it_is_back(own: tuple[str, Path]) -> None:
    kind, folder = own
    server = serve(kind, folder)
    engine = engines.connect(server.dsn)
    try:
        migrate(engine)
        with pytest.raises(StoreAway), transaction(engine) as conn:
            plant = made.plant(conn)
            writer.write_predictions(conn, made.batch(plant, 10))
            server.stop()
            writer.write_predictions(conn, made.batch(plant, 10))
        with pytest.raises(StoreAway):
            engines.ping(engine)
        server = serve(kind, folder)
        with transaction(engine) as conn:
            assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 0
            writer.write_predictions(conn, made.batch(made.plant(conn), 10))
        with transaction(engine) as conn:
            assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 10
    finally:
        engine.dispose()
        server.stop()


def test_a_server_that_dies_in_mid_copy_is_store_away_and_has_kept_nothing(
    own: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, folder = own
    server = serve(kind, folder)
    engine = engines.connect(server.dsn)
    read = writer._Stream.read
    reads = 0

    def die_at_the_third(self: writer._Stream, size: int = -1) -> bytes:
        nonlocal reads
        reads += 1
        if reads == 3:
            server.stop()
        return read(self, size)

    try:
        migrate(engine)
        with transaction(engine) as conn:
            plant = made.plant(conn)
        monkeypatch.setattr(writer._Stream, "read", die_at_the_third)
        with pytest.raises(StoreAway), transaction(engine) as conn:
            writer.write_predictions(conn, made.batch(plant, 60_000))
        assert reads >= 3
        server = serve(kind, folder)
        with transaction(engine) as conn:
            assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 0
    finally:
        engine.dispose()
        server.stop()


def test_a_pool_without_a_free_connection_is_store_away(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "POOL_WAIT_SECONDS", 0.05)
    engine = engines.connect(dsn, pool_size=1)
    with transaction(engine), transaction(engine), pytest.raises(StoreAway, match="in use"), transaction(engine):
        pass
    engine.dispose()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=3),
    max_leaves=10,
)


@given(_json)
def test_whatever_is_written_as_json_is_json_without_what_postgres_refuses(value: object) -> None:
    def constant(name: str) -> object:
        raise AssertionError(name)

    text_ = to_json(value)
    json.loads(text_, parse_constant=constant)
    assert "\\u0000" not in text_.replace("\\\\", "")
    text_.encode()


@given(st.text())
def test_a_text_that_postgres_takes_is_kept_as_it_is(value: str) -> None:
    kept = storable(value)
    assert "\0" not in kept
    if "\0" not in value and value.isprintable():
        assert kept == value


def test_every_text_and_json_comes_back(engine: Engine) -> None:
    texts = ["", "ä°", "\0", "\udcff", "a\0b\udc80", "'; DROP TABLE file; --", "\\x00", "%s %(a)s :a", "\U0001f600"]
    with transaction(engine) as conn:
        plant = made.plant(conn)
        for value in texts:
            arrival = made.claimed(conn, plant.profile_id, name=value or "empty", path=f"/raw/{value}")
            assert arrival.name == storable(value or "empty")
        conn.execute(
            text("INSERT INTO event (kind, severity, message, details) VALUES ('a', 'info', 'b', CAST(:d AS jsonb))"),
            {"d": to_json({value: [value, float("nan")] for value in texts})},
        )
        details = conn.execute(text("SELECT details FROM event")).scalar_one()
    assert details == {storable(value): [storable(value), None] for value in texts}


def test_an_embedded_server_keeps_its_promise_of_durability_unless_told_otherwise(open_path: Path) -> None:
    server = embedded.start(open_path / "db")
    try:
        with psycopg2.connect(server.dsn) as connection, connection.cursor() as cursor:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                cursor.execute(f"SHOW {name}")
                assert cursor.fetchone() == ("on",)
        connection.close()
    finally:
        server.stop()


def test_recovery_does_not_wait_for_dead_connections(engine: Engine) -> None:
    # All pooled connections are dead at once, as after a restart of the server: no caller sees one of them.
    with transaction(engine) as one, transaction(engine) as two:
        pids = [c.execute(text("SELECT pg_backend_pid()")).scalar_one() for c in (one, two)]
    with transaction(engine) as conn:
        mine = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        for pid in set(pids) - {mine}:
            conn.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    time.sleep(0.05)
    with transaction(engine) as one, transaction(engine) as two:
        assert one.execute(text("SELECT 1")).scalar_one() == two.execute(text("SELECT 1")).scalar_one()
