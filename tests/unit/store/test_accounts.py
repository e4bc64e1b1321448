from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from appliance.store import accounts, ledger, queries
from appliance.store.writer import write_predictions
from tests.unit.store import made
from tests.unit.store.made import Plant

# What breaks a promise, and the names of those that are then told.
BROKEN: list[tuple[list[str], set[str]]] = [
    (
        ["ALTER TABLE file DROP CONSTRAINT ck_file_rows_in", "UPDATE file SET rows_in = rows_in + 1 WHERE id = 1"],
        {"rows_in"},
    ),
    (["DELETE FROM part WHERE id = 4"], {"parts", "file_state"}),
    (["UPDATE part SET start = start + 1 WHERE id = 2"], {"part_order"}),
    (["DELETE FROM prediction WHERE row = 17 AND file_id = 1"], {"predicted_rows", "part_predictions"}),
    (["UPDATE prediction SET row = 16 WHERE row = 17 AND file_id = 1"], {"row_twice"}),
    (
        ["INSERT INTO prediction SELECT (jsonb_populate_record(p, '{\"id\": 100000}')).* FROM prediction p LIMIT 1"],
        {"predicted_rows", "row_twice"},
    ),
    (
        ["UPDATE prediction SET file_id = 77 WHERE file_id = 2"],
        {"predicted_rows", "part_predictions", "prediction_of_no_file"},
    ),
    (["UPDATE file SET state = 'predicted' WHERE id = 3"], {"file_state"}),
    (["UPDATE file SET state = 'ingested' WHERE id = 1"], {"file_state"}),
    (["UPDATE arrival SET state = 'claimed' WHERE id = 1"], {"arrival"}),
    (["UPDATE arrival SET state = 'quarantined' WHERE id = 1"], {"arrival"}),
    (["UPDATE arrival SET state = 'ingested', duplicate_of = NULL WHERE state = 'duplicate'"], {"arrival"}),
    (
        [
            "DROP INDEX ix_file_content",
            "UPDATE file SET sha256 = (SELECT sha256 FROM file WHERE id = 1) WHERE id < 3",
        ],
        {"content_twice"},
    ),
    (
        ["UPDATE part SET state = 'waiting', predicted_at = NULL WHERE id = 1"],
        {"predicted_rows", "file_state"},
    ),
]


@pytest.fixture
def books(conn: Connection) -> Plant:
    """Three files, one of them waiting, a duplicate, a quarantined one, and predictions of no file."""
    plant = made.plant(conn)
    first = made.ingested(conn, plant.profile_id, [100, 50], bad=7, content="c")
    made.ingested(conn, plant.profile_id, [30])
    made.ingested(conn, plant.profile_id, [20])
    for part_id in (1, 2, 3):
        made.predict(conn, plant, part_id)
    ledger.finish_duplicate(conn, made.claimed(conn, plant.profile_id, content="c"), first.file_id)
    ledger.quarantine(conn, made.claimed(conn, plant.profile_id), "encoding", "No.", None)
    made.ingested(conn, made.plant(conn, "pump").profile_id, [5])
    write_predictions(conn, made.batch(plant, 10, source="webapp"))
    return plant


def test_the_books_add_up(conn: Connection, books: Plant) -> None:
    assert accounts.violations(conn) == []
    assert accounts.accounting(conn, "milling") == accounts.Accounts(
        rows_in=207,
        rows_good=200,
        rows_bad=7,
        rows_predicted=180,
        rows_waiting=20,
        rows_failed=0,
        arrivals=5,
        files=3,
        duplicates=1,
        quarantined=1,
    )
    ledger.part_failed(conn, 4, "boom", 1)
    everything = accounts.accounting(conn)
    assert (everything.rows_in, everything.rows_waiting, everything.rows_failed) == (212, 5, 20)
    assert accounts.accounting(conn, "nobody").arrivals == 0


@pytest.mark.parametrize(
    ("statements", "names"),
    BROKEN,
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else "",
)
def test_every_broken_promise_is_told_by_its_name(
    conn: Connection, books: Plant, statements: list[str], names: set[str]
) -> None:
    for statement in statements:
        assert conn.exec_driver_sql(statement).rowcount != 0
    found = accounts.violations(conn)
    assert {violation.name for violation in found} == names
    for violation in found:
        assert violation.subject in violation.sentence
        assert "{" not in violation.sentence


def test_every_promise_is_broken_above() -> None:
    assert {name for _, names in BROKEN for name in names} == {name for name, _, _ in accounts._PROMISES}


def test_old_files_can_be_left_out(conn: Connection, books: Plant) -> None:
    conn.execute(text("DELETE FROM prediction WHERE row = 17 AND file_id = 1"))
    now = queries.clock(conn)
    assert accounts.violations(conn, since=now) == []
    assert len(accounts.violations(conn, since=now - timedelta(hours=1))) == 2


def test_what_is_told_has_an_end(conn: Connection, books: Plant) -> None:
    conn.execute(text("UPDATE prediction SET row = 1 WHERE file_id = 1 AND row = 2"))
    conn.execute(text("UPDATE prediction SET row = 3 WHERE file_id = 1 AND row = 4"))
    assert len(accounts.violations(conn)) == 2
    assert len(accounts.violations(conn, limit=1)) == 1
