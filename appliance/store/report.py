"""Who only reads: a role that sees the views of the schema ``report`` and nothing else, with bounds on what it takes.

A program that shows dashboards lets its viewers send any SQL. What holds them are rights alone, so the role has none but
to read those views. Limits that a session can lift by itself (the time of a statement, read-only transactions) are set
for those who mean well; for the others :func:`end_long` ends what takes too long, from outside.
"""

from __future__ import annotations

import re

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url

from appliance.errors import UsageError

READER = "grafana"
CONNECTIONS = 8
STATEMENT_SECONDS = 15
IDLE_SECONDS = 30
# What a session that lifted its own limits gets at most, and a minute more until somebody looks.
LONGEST_SECONDS = 60
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

# Everybody may call these in a fresh database: they hold locks that our writers wait for, or write (large objects, the
# log of changes).
_DANGEROUS = "^(pg_(try_)?advisory_.*|lo_.*|lowrite|loread|pg_logical_emit_message)$"

_SQL = """\
-- Make {role} a reader of the appliance's views; run by a superuser in the appliance's database. Again changes nothing.
BEGIN;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF;
END $$;
ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {connections};
ALTER ROLE {role} SET search_path = report;
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '{statement}s';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '{idle}s';
ALTER ROLE {role} SET lock_timeout = '2s';
ALTER ROLE {role} SET jit = off;
ALTER ROLE {role} SET temp_file_limit = '256MB';
DO $$
DECLARE
    owner text := (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database());
    dangerous regprocedure;
BEGIN
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS report AUTHORIZATION %I', owner);
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO {role}', current_database());
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA report GRANT SELECT ON TABLES TO {role}', owner);
    -- So that the appliance may end what takes too long.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = owner) THEN
        EXECUTE format('GRANT {role} TO %I', owner);
    END IF;
    FOR dangerous IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '{dangerous}'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', dangerous);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', dangerous, owner);
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA report TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA report TO {role};
COMMIT;
"""

_END = text(
    "SELECT count(*) FROM (SELECT pg_terminate_backend(a.pid) AS ended FROM pg_stat_activity a"
    " JOIN pg_roles r ON r.oid = a.usesysid"
    " WHERE a.datname = current_database() AND NOT r.rolsuper AND to_regnamespace('report') IS NOT NULL"
    " AND has_schema_privilege(r.oid, to_regnamespace('report'), 'USAGE')"
    " AND NOT pg_has_role(r.oid, (SELECT datdba FROM pg_database WHERE datname = current_database()), 'MEMBER')"
    # Of roles that are not ours to end, the state cannot be seen either.
    " AND a.state IS NOT NULL AND a.state <> 'idle' AND greatest(a.xact_start, a.query_start) IS NOT NULL"
    " AND least(a.xact_start, a.query_start) < clock_timestamp() - make_interval(secs => :seconds)) AS gone WHERE ended"
)


def reader_sql(role: str = READER) -> str:
    """What a superuser runs to make that role a reader; UsageError where it cannot be a role's name."""
    if not _NAME.fullmatch(role):
        raise UsageError(
            f"{role!r} cannot be the name of a role.", "Take small letters, digits and underscores, such as grafana."
        )
    return _SQL.format(
        role=role, connections=CONNECTIONS, statement=STATEMENT_SECONDS, idle=IDLE_SECONDS, dangerous=_DANGEROUS
    )


def make_reader(engine: Engine, role: str = READER) -> None:
    """Make that role a reader, by an engine that logs in as a superuser: of the demo's own server."""
    with engine.connect() as connection:
        raw = connection.execution_options(isolation_level="AUTOCOMMIT").connection
        cursor = raw.cursor()
        # As it stands: what looks like a place for values is none.
        cursor.execute(reader_sql(role))
        cursor.close()


def whereabouts(dsn: str) -> tuple[str, str]:
    """The folder of the socket, or host and port; and the name of the database."""
    url = make_url(dsn)
    socket = url.query.get("host")
    host = socket if isinstance(socket, str) else f"{url.host or '127.0.0.1'}:{url.port or 5432}"
    return host, url.database or ""


def end_long(conn: Connection, seconds: float = LONGEST_SECONDS) -> int:
    """End sessions of readers whose statement or transaction lasts longer; their number."""
    ended: int = conn.execute(_END, {"seconds": seconds}).scalar_one()
    return ended
