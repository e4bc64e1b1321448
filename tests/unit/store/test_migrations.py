from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from appliance.store import engine as engines
from appliance.store import migrations, revision
from appliance.store.tables import metadata
from tests.conftest import Cluster

# Everything that the catalogue knows about our tables, in words that do not hold the database's own numbers.
_CATALOGUE = {
    "columns": (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,"
        " pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        # In order of their position: that is how COPY writes them.
        " ORDER BY c.relname, a.attnum"
    ),
    "constraints": (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    ),
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "tables": (
        "SELECT relname, relkind, reloptions, obj_description(oid), pg_get_partkeydef(oid) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY relname"
    ),
}


def catalogue(conn: Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: [tuple(row) for row in conn.execute(text(query)) if "alembic" not in str(row[0])]
        for name, query in _CATALOGUE.items()
    }


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    name = cluster.create("template1")
    yield cluster.dsn(name)
    cluster.drop(name)


def test_the_migrations_make_what_the_tables_say(engine: Engine, empty: str) -> None:
    other = engines.connect(empty)
    with engines.transaction(other) as conn:
        metadata.create_all(conn)
        wanted = catalogue(conn)
    other.dispose()
    with engines.transaction(engine) as conn:
        found = catalogue(conn)
    assert wanted["tables"]
    assert found == wanted


def test_an_empty_database_is_not_current_until_it_is_migrated(empty: str) -> None:
    engine = engines.connect(empty)
    assert revision.current(engine) == ""
    assert not revision.is_current(engine)
    assert migrations.migrate(engine) == revision.head()
    assert revision.is_current(engine)
    engine.dispose()


def test_the_versions_are_those_that_the_tool_walks_through() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert revision.known() == walked


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    with engines.transaction(engine) as conn:
        before = catalogue(conn)
    migrations.migrate(engine)
    with engines.transaction(engine) as conn:
        assert catalogue(conn) == before


def test_services_that_start_together_migrate_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(migrations.migrate, [empty] * 4))
    assert heads == [revision.head()] * 4


def test_a_migration_that_breaks_leaves_nothing(empty: str) -> None:
    engine = engines.connect(empty)
    with engines.transaction(engine) as conn:
        conn.execute(text("CREATE TABLE outcome (id int)"))  # the first migration meets a table of that name late
    with pytest.raises(Exception, match="already exists"):
        migrations.migrate(engine)
    with engines.transaction(engine) as conn:
        tables = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
    assert tables == ["outcome"]
    engine.dispose()
