"""What a reader may do: read the views. Everything is tried as that role, on a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg2
import pytest
from psycopg2.extensions import connection as Session
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from appliance import drift as pure
from appliance import drill
from appliance.errors import UsageError
from appliance.store import drift, drill_rows, report, writer
from appliance.store.engine import connect as make_engine
from appliance.store.engine import transaction
from tests.conftest import Cluster
from tests.unit.store import made

ROLE = "grafana"


@pytest.fixture
def plain(cluster: Cluster, dsn: str) -> str:
    """The DSN of the database's owner, who is no superuser, as on a box."""
    name = make_url(dsn).database
    if not _asked(cluster.dsn("postgres"), "SELECT 1 FROM pg_roles WHERE rolname = 'plain'"):
        cluster.sql("CREATE ROLE plain LOGIN")
    cluster.sql(f'ALTER DATABASE "{name}" OWNER TO plain')
    with psycopg2.connect(dsn) as session, session.cursor() as cursor:
        cursor.execute(
            "DO $$ DECLARE r record; BEGIN FOR r IN SELECT oid::regclass AS one, relkind FROM pg_class WHERE relkind IN"
            " ('r', 'p', 'v', 'S') AND relnamespace IN ('public'::regnamespace, 'report'::regnamespace) AND NOT EXISTS"
            " (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype IN ('a', 'i') AND relkind = 'S') LOOP"
            " EXECUTE format('ALTER TABLE %s OWNER TO plain', r.one); END LOOP; END $$;"
            " ALTER SCHEMA public OWNER TO plain; ALTER SCHEMA report OWNER TO plain"
        )
        cursor.execute(report.reader_sql(ROLE))
    session.close()
    return make_url(dsn).set(username="plain").render_as_string(hide_password=False)


@pytest.fixture
def reader(plain: str) -> Iterator[Session]:
    session = connect(plain)
    yield session
    session.close()


def connect(dsn: str) -> Session:
    session = psycopg2.connect(make_url(dsn).set(username=ROLE).render_as_string(hide_password=False))
    session.autocommit = True
    return session


def ask(session: Session, statement: str) -> list[Any]:
    with session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _asked(dsn: str, statement: str) -> list[Any]:
    session = psycopg2.connect(dsn)
    try:
        return ask(session, statement)
    finally:
        session.close()


def test_it_reads_every_view_and_runs_into_no_error_on_an_empty_box(reader: Session) -> None:
    views = [name for (name,) in ask(reader, "SELECT viewname FROM pg_views WHERE schemaname = 'report' ORDER BY 1")]
    assert len(views) > 15
    for view in views:
        ask(reader, f"SELECT * FROM report.{view}")


def test_every_view_says_what_it_is(reader: Session) -> None:
    silent = "SELECT relname FROM pg_class WHERE relnamespace = 'report'::regnamespace AND obj_description(oid) IS NULL"
    assert ask(reader, silent) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM public.prediction",
        'SELECT password_hash FROM public."user"',
        "SELECT hash FROM public.token",
        "SELECT hash FROM public.session",
        "SELECT * FROM public.outcome",
        "SELECT public.anything()",
        "INSERT INTO public.metric (name, value) VALUES ('a', 1)",
        "UPDATE report.metric SET value = 0",
        "DELETE FROM report.run",
        "DELETE FROM report.metric",
        "SELECT * FROM report.metric FOR UPDATE",
        "BEGIN; LOCK TABLE report.metric IN EXCLUSIVE MODE",
        "TRUNCATE public.event",
        "CREATE TABLE mine (a int)",
        "CREATE TABLE public.mine (a int)",
        "CREATE TABLE report.mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION report.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP VIEW report.metric",
        "COPY report.metric TO PROGRAM 'cat'",
        "COPY report.metric TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_from_bytea(0, 'a')",
        "SELECT lo_create(0)",
        "SELECT pg_advisory_lock(7165002)",
        "SELECT pg_try_advisory_xact_lock(7165002)",
        "SELECT pg_logical_emit_message(false, 'a', 'b')",
        "SELECT nextval('public.prediction_id')",
        "SELECT setval('public.prediction_id', 1)",
        "SET ROLE plain",
        "SET SESSION AUTHORIZATION plain",
        "SET temp_file_limit = -1",
        "ALTER ROLE grafana CONNECTION LIMIT -1",
        "ALTER ROLE grafana SUPERUSER",
        "GRANT SELECT ON report.metric TO PUBLIC",
        "ALTER SYSTEM SET work_mem = '1GB'",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'plain'",
        "VACUUM public.metric",
    ],
)
def test_it_can_do_nothing_else(plain: str, reader: Session, statement: str) -> None:
    other = psycopg2.connect(plain)
    # What a session may lift by itself is lifted first: only rights count.
    ask(reader, "SET default_transaction_read_only = off")
    try:
        if statement.startswith(("VACUUM", "GRANT")):  # warns that nothing was done
            ask(reader, statement)
            assert "WARNING" in reader.notices[-1]
            return
        with pytest.raises(psycopg2.Error) as refused:
            ask(reader, statement)
        assert refused.value.pgcode in ("42501", "42P01", "42883", "3F000", "55000"), refused.value
    finally:
        other.close()


def test_what_others_ask_is_hidden_from_it(plain: str, reader: Session) -> None:
    other = psycopg2.connect(plain)
    ask(other, "SELECT 'a secret'")
    assert not [row for row in ask(reader, "SELECT query FROM pg_stat_activity") if "a secret" in (row[0] or "")]
    other.close()


def test_statements_end_in_time_and_connections_are_bounded(plain: str, reader: Session) -> None:
    assert ask(reader, "SHOW statement_timeout") == [("15s",)]
    held: list[Session] = []
    with pytest.raises(psycopg2.OperationalError, match="too many connections"):  # noqa: PT012
        while len(held) <= report.CONNECTIONS:
            held.append(connect(plain))
    # The reader's own is one, and other tests of this server may hold some too.
    assert len(held) < report.CONNECTIONS
    for session in held:
        session.close()


def test_who_lifts_the_time_limit_is_ended_from_outside_and_nobody_else(plain: str, reader: Session) -> None:
    engine = make_engine(plain)
    ended: list[str] = []

    def sleep() -> None:
        try:
            ask(reader, "SET statement_timeout = 0")
            ask(reader, "SELECT pg_sleep(300)")
        except psycopg2.Error as error:
            ended.append(str(error))

    idle, mine = connect(plain), psycopg2.connect(plain)
    ask(mine, "SELECT 1")  # in a transaction of the owner's, for as long as it likes
    thread = threading.Thread(target=sleep)
    thread.start()
    time.sleep(1.0)
    with transaction(engine) as conn:
        assert report.end_long(conn) == 0
        assert report.end_long(conn, 0.5) == 1
    thread.join(30)
    assert ended
    assert reader.closed
    assert ask(idle, "SELECT 1") == ask(mine, "SELECT 1") == [(1,)]
    idle.close()
    mine.close()
    engine.dispose()


def test_the_owner_still_has_what_the_appliance_needs(plain: str, reader: Session) -> None:
    engine = make_engine(plain)
    with transaction(engine) as conn:
        plant = made.plant(conn)
        made.ingested(conn, plant.profile_id, [10])
        writer.write_predictions(conn, made.batch(plant, 20))
    assert ask(reader, "SELECT count(*) FROM report.prediction") == [(20,)]
    assert {row[0] for row in ask(reader, "SELECT machine FROM report.machine")} == {"M-1", "M-2"}
    engine.dispose()


def test_new_views_are_read_too_and_again_changes_nothing(dsn: str, plain: str, reader: Session) -> None:
    with psycopg2.connect(plain) as session, session.cursor() as cursor:
        cursor.execute("CREATE VIEW report.later AS SELECT 1 AS one")
    session.close()
    with psycopg2.connect(dsn) as session, session.cursor() as cursor:
        cursor.execute(report.reader_sql(ROLE))
    session.close()
    assert ask(reader, "SELECT one FROM later") == [(1,)]


@pytest.mark.parametrize("name", ["", "Grafana", "a b", "a;b", "a'b", "1a", "a" * 64])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        report.reader_sql(name)


def test_drift_in_the_views_is_that_of_the_code(engine: Engine) -> None:
    rng = np.random.default_rng(8)
    reference = np.column_stack([rng.normal(size=900), rng.integers(0, 3, 900), rng.beta(0.4, 3, 900)]).astype(
        np.float32
    )
    reference[:40, 0] = np.nan
    names = ("torque", "type", pure.SCORE)
    bins = [pure.bins_of(name, reference[:, i], -4, 4) for i, name in enumerate(names)]
    rows = np.column_stack([rng.normal(0.4, 2, 3000), rng.integers(0, 4, 3000), rng.beta(0.5, 3, 3000)]).astype(
        np.float32
    )
    rows[:300, 0] = np.nan
    of = rng.integers(0, 2, 3000)
    with transaction(engine) as conn:
        plant = made.plant(conn)
        drift.keep_bins(conn, plant.model_id, bins)
        counts = pure.count(bins, rows, of, 2)
        drift.add(conn, plant.model_id, datetime.now(UTC), plant.machines, np.bincount(of).tolist(), [5, 6], counts)
        found = conn.execute(text("SELECT * FROM report.drift ORDER BY position")).mappings().all()
    for row, wanted in zip(found, pure.drifts(bins, counts.sum(axis=0)), strict=True):
        assert (row["feature"], row["rows"], row["level"]) == (wanted.name, wanted.rows, wanted.level)
        assert row["psi"] == pytest.approx(wanted.psi)
        assert row["ks"] == pytest.approx(wanted.ks)
        assert row["chance"] == pytest.approx(wanted.chance, rel=1e-5)
        assert row["missing"] == pytest.approx(wanted.missing)
        assert row["below"] + row["above"] == pytest.approx(wanted.outside)


@pytest.mark.parametrize(
    ("dsn", "wanted"),
    [
        ("postgresql://user@/appliance?host=/var/run/postgresql", ("/var/run/postgresql", "appliance")),
        ("postgresql://user:word@db.example:5433/plant", ("db.example:5433", "plant")),
        ("postgresql:///appliance", ("127.0.0.1:5432", "appliance")),
    ],
)
def test_where_a_database_is_as_another_program_is_told(dsn: str, wanted: tuple[str, str]) -> None:
    assert report.whereabouts(dsn) == wanted


def test_its_owner_drills_every_alert_through_the_reader_s_eyes_on_each_postgresql(plain: str) -> None:
    engine = make_engine(plain, "tests")
    found = drill.by_sql(engine, drill.chosen([]))
    assert found.seen_by == ROLE
    assert {one.state for one in found.alerts} == {"fires"}
    with transaction(engine) as conn:
        # As a drill with a Grafana is taken back; the one that changes what is there is never committed.
        for uid in drill_rows._MAKERS.keys() - set(drill_rows.ONLY_UNSEEN):
            drill_rows.make(conn, uid)
    with transaction(engine) as conn:
        assert drill_rows.sweep(conn)
        assert not drill_rows.sweep(conn)
    with transaction(engine) as conn:
        assert not drill_rows.is_on(conn)
    with drill_rows.only_one(engine), transaction(engine) as conn:
        assert drill_rows.is_on(conn)
    engine.dispose()
