"""What a process need not ask the store again, and when it has to."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, event, text

from appliance.names import as_demo
from appliance.store import known, models, writer
from appliance.store.engine import transaction
from tests import profiles
from tests.conftest import Cluster
from tests.unit.store import made


def _asked(engine: Engine, names: list[str]) -> tuple[dict[str, int], int]:
    """The ids, and how many statements it took to have them."""
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with transaction(engine) as conn:
            ids = models.ensure_machines(conn, 1, names)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return ids, len(statements)


@pytest.fixture
def plant(engine: Engine) -> made.Plant:
    with transaction(engine) as conn:
        return made.plant(conn)


def test_what_was_committed_is_not_asked_again(engine: Engine, plant: made.Plant) -> None:
    first, asked = _asked(engine, ["M-1", "new"])
    assert asked > 0
    assert _asked(engine, ["new", "M-1"]) == ({"new": first["new"], "M-1": first["M-1"]}, 0)


def test_what_was_rolled_back_is_not_believed(engine: Engine, plant: made.Plant) -> None:
    _asked(engine, ["M-1"])
    gone = 0

    def fail() -> None:
        nonlocal gone
        with transaction(engine) as conn:
            gone = models.ensure_machines(conn, plant.profile_id, ["gone"])["gone"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    ids, asked = _asked(engine, ["gone"])
    assert asked > 0
    assert ids["gone"] != gone
    # Whatever made it fail may be that something is not as it was believed to be.
    assert _asked(engine, ["M-1"])[1] > 0


def test_a_transaction_of_another_kind_teaches_nothing(engine: Engine, plant: made.Plant) -> None:
    with engine.connect() as conn:
        models.ensure_machines(conn, plant.profile_id, ["gone"])
        conn.rollback()
    ids, _ = _asked(engine, ["gone"])
    with engine.connect() as conn:
        assert conn.execute(text("SELECT id FROM machine WHERE name = 'gone'")).scalar_one() == ids["gone"]


def test_simulated_machines_are_asked_for_each_time(engine: Engine, plant: made.Plant) -> None:
    """They are removed one day, and locked against it."""
    name = as_demo("mill-1")
    assert _asked(engine, [name])[1] > 0
    assert _asked(engine, [name])[1] > 0


def test_a_new_connection_may_lead_to_another_database(engine: Engine, plant: made.Plant, cluster: Cluster) -> None:
    _asked(engine, ["M-1"])
    assert _asked(engine, ["M-1"])[1] == 0
    cluster.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{engine.url.database}' AND pid <> pg_backend_pid()"
    )
    assert _asked(engine, ["M-1"])[1] > 0


def test_a_dropped_partition_is_made_again(engine: Engine, plant: made.Plant) -> None:
    """By retention under a clock that jumped: at the second try at the latest."""
    for _ in range(2):
        with transaction(engine) as conn:
            _, when = writer.write_predictions(conn, made.batch(plant, 3))
    with engine.begin() as conn:
        conn.execute(text(f"DROP TABLE {writer.partition_of(when)}"))
    with pytest.raises(Exception, match="does not exist"), transaction(engine) as conn:
        writer.write_predictions(conn, made.batch(plant, 3))
    with transaction(engine) as conn:
        writer.write_predictions(conn, made.batch(plant, 3))
        assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 3


def test_it_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST", 10)
    with transaction(engine) as conn:
        profile_id = models.ensure_profile(conn, profiles.load("milling"))
    for number in range(40):
        with transaction(engine) as conn:
            models.ensure_machines(conn, profile_id, [f"m-{number}"])
    assert len(known._known[engine]) <= 12
