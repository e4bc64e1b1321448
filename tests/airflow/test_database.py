"""Airflow's database is made where the role may, and asked of an administrator where it may not."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from appliance.errors import SettingError, StoreAway
from appliance.store import airflow as database
from appliance.store import engine as engines
from tests.conftest import Cluster

ROLE = "plain one"


def of(dsn: str, **more: str) -> str:
    return make_url(dsn).set(**more).render_as_string(hide_password=False)  # type: ignore[arg-type]


def encoding(dsn: str) -> str:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        [found] = cursor.fetchone() or [""]
    connection.close()
    return str(found)


@pytest.fixture
def plain(cluster: Cluster) -> Iterator[str]:
    """A role that may make no database."""
    cluster.sql(f'DROP ROLE IF EXISTS "{ROLE}"')
    cluster.sql(f'CREATE ROLE "{ROLE}" LOGIN')
    yield ROLE
    cluster.sql(f'DROP ROLE "{ROLE}"')


@pytest.mark.parametrize("beside", [True, False])
def test_it_is_made_once(dsn: str, airflow_dsn: str, beside: bool) -> None:
    known = dsn if beside else None
    assert database.ensure(airflow_dsn, known)
    assert encoding(airflow_dsn) == "UTF8"
    assert not database.ensure(airflow_dsn, known)


@pytest.mark.parametrize("name", ['odd "name', "per%cent", "co:lon"])
def test_whatever_it_is_called(cluster: Cluster, dsn: str, name: str) -> None:
    odd = of(dsn, database=name)
    try:
        assert database.ensure(odd, dsn)
        assert not database.ensure(odd, dsn)
    finally:
        cluster.drop(name.replace('"', '""'))


def test_a_role_that_may_not_gets_the_statement_for_who_may(
    cluster: Cluster, dsn: str, airflow_dsn: str, plain: str
) -> None:
    ours, theirs = of(dsn, username=plain), of(airflow_dsn, username=plain)
    with pytest.raises(SettingError, match=r"is missing, and the role 'plain one' may not make it") as caught:
        database.ensure(theirs, ours)
    statement = caught.value.way_out.partition(": ")[2]
    assert statement.startswith("CREATE DATABASE")
    cluster.sql(statement)
    try:
        assert not database.ensure(theirs, ours)
        engine = engines.connect(theirs)
        with engines.transaction(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE mine (id int)")
            assert not database.held(connection).ready
        engine.dispose()
    finally:
        cluster.drop(make_url(theirs).database or "")


def test_a_database_that_is_there_and_shut_is_away(cluster: Cluster, dsn: str, airflow_dsn: str, plain: str) -> None:
    database.ensure(airflow_dsn, dsn)
    cluster.sql(f'REVOKE CONNECT ON DATABASE "{make_url(airflow_dsn).database}" FROM PUBLIC')
    with pytest.raises(StoreAway, match="permission denied"):
        database.ensure(of(airflow_dsn, username=plain), of(dsn, username=plain))


def test_a_server_that_is_away_is_said_to_be(dsn: str) -> None:
    nowhere = of(dsn, query={"host": "/nowhere"})  # type: ignore[arg-type]
    with pytest.raises(StoreAway):
        database.ensure(nowhere, nowhere)
    with pytest.raises(StoreAway):
        database.ensure(nowhere)
