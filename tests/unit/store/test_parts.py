# ruff: noqa: PT012  (what a transaction raises comes at the end of its block)
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict, NotFound
from appliance.store import accounts, ledger, queries
from appliance.store.engine import transaction
from tests.unit.store import made
from tests.unit.store.made import Plant


@pytest.fixture
def plant(engine: Engine) -> Plant:
    with transaction(engine) as conn:
        return made.plant(conn)


def part_ids(conn: Connection) -> list[int]:
    return [part.id for part in ledger.waiting_parts(conn, 100)]


def make_due(conn: Connection) -> None:
    conn.execute(text("UPDATE part SET next_try_at = now() - interval '1 s'"))


def test_parts_wait_with_all_that_predicting_them_needs(conn: Connection, plant: Plant) -> None:
    arrival = made.ingested(conn, plant.profile_id, [100, 50], name="a.csv")
    first, second = ledger.waiting_parts(conn, 10)
    assert (first.number, first.start, first.rows) == (1, 0, 100)
    assert (second.number, second.start, second.rows) == (2, 100, 50)
    assert (second.file_id, second.profile, second.profile_id) == (arrival.file_id, "milling", plant.profile_id)
    assert (second.name, second.origin, second.good_path) == ("a.csv", "M-1", "good/1.parquet")
    assert (second.arrived_at, second.contract_hash) == (arrival.arrived_at, arrival.contract_hash)
    assert [part.id for part in ledger.waiting_parts(conn, 1)] == [first.id]


def test_a_file_is_predicted_with_its_last_part(conn: Connection, plant: Plant) -> None:
    arrival = made.ingested(conn, plant.profile_id, [100, 50])
    for part_id, state in zip(part_ids(conn), ["ingested", "predicted"], strict=True):
        made.predict(conn, plant, part_id)
        assert queries.file(conn, arrival.file_id)["state"] == state
    assert part_ids(conn) == []
    assert accounts.violations(conn) == []
    file = queries.file(conn, arrival.file_id)
    assert file["rows_predicted"] == 150
    assert file["predicted_at"] is not None
    assert file["rows_failing"] == conn.execute(text("SELECT count(*) FROM prediction WHERE failing")).scalar_one()


def test_a_part_is_predicted_once(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        made.ingested(conn, plant.profile_id, [10])
        made.predict(conn, plant, 1)
    with pytest.raises(Conflict), transaction(engine) as conn:
        assert ledger.lock_part(conn, 1).state == "predicted"
        made.predict(conn, plant, 1)
    with transaction(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 10
        assert accounts.violations(conn) == []


def test_a_part_with_another_number_of_rows_is_not_marked(conn: Connection, plant: Plant) -> None:
    made.ingested(conn, plant.profile_id, [10])
    with pytest.raises(Conflict):
        ledger.part_predicted(conn, 1, 9, 0, plant.model_id, 1, 9)


def test_a_part_that_is_held_is_a_conflict_at_once(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        made.ingested(conn, plant.profile_id, [10, 10])
    with transaction(engine) as holder:
        ledger.lock_part(holder, 1)
        with transaction(engine) as conn:
            conn.execute(text("SET LOCAL lock_timeout = 0"))
            conn.execute(text("SET LOCAL statement_timeout = '3s'"))
            with pytest.raises(Conflict):
                ledger.lock_part(conn, 1)
            # The transaction can go on; other parts and readers are free.
            assert ledger.lock_part(conn, 2).number == 2
            assert part_ids(conn) == [1, 2]
    with transaction(engine) as conn:
        assert ledger.lock_part(conn, 1).number == 1


def test_an_unknown_part_is_not_found(conn: Connection) -> None:
    with pytest.raises(NotFound):
        ledger.lock_part(conn, 1)


def test_many_that_want_all_parts_predict_each_once(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        made.ingested(conn, plant.profile_id, [20] * 6)
        ids = part_ids(conn)

    def work(order: Callable[[list[int]], list[int]]) -> None:
        for part_id in order(ids):
            try:
                with transaction(engine) as conn:
                    if ledger.lock_part(conn, part_id).state == "waiting":
                        made.predict(conn, plant, part_id)
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [list, sorted, lambda ids: ids[::-1], lambda ids: ids[3:] + ids[:3]]))
    with transaction(engine) as conn:
        for part_id in part_ids(conn):
            made.predict(conn, plant, part_id)
        assert accounts.violations(conn) == []
        assert queries.files(conn)[0]["state"] == "predicted"


def test_the_last_two_parts_that_end_at_the_same_time_finish_the_file(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        arrival = made.ingested(conn, plant.profile_id, [10, 10])
    both = threading.Barrier(2)

    def work(part_id: int) -> None:
        with transaction(engine) as conn:
            ledger.lock_part(conn, part_id)
            both.wait(10)
            made.predict(conn, plant, part_id)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [1, 2]))
    with transaction(engine) as conn:
        assert queries.file(conn, arrival.file_id)["state"] == "predicted"


def test_a_killed_prediction_leaves_the_part_as_it_was(engine: Engine, plant: Plant) -> None:
    with transaction(engine) as conn:
        made.ingested(conn, plant.profile_id, [10])
    with pytest.raises(KeyboardInterrupt), transaction(engine) as conn:
        made.predict(conn, plant, 1)
        raise KeyboardInterrupt
    with transaction(engine) as conn:
        assert ledger.lock_part(conn, 1).state == "waiting"
        assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 0


def test_a_failing_part_waits_longer_each_time_and_is_given_up(conn: Connection, plant: Plant) -> None:
    arrival = made.ingested(conn, plant.profile_id, [10, 10], name="a.csv")
    pauses = []
    for _ in range(4):
        make_due(conn)
        assert ledger.part_failed(conn, 1, "boom\0", 5) == "waiting"
        assert part_ids(conn) == [2]
        part = ledger.lock_part(conn, 1)
        pauses.append((part.next_try_at - queries.clock(conn)).total_seconds())
    assert [round(pause / 60) for pause in pauses] == [1, 2, 4, 8]
    make_due(conn)
    assert ledger.part_failed(conn, 1, "boom", 5) == "failed"
    (failed,) = ledger.failed_parts(conn, 10)
    assert (failed.id, failed.tries, failed.error) == (1, 5, "boom")
    # The other part goes on; only then is the file known to have failed.
    assert queries.file(conn, arrival.file_id)["state"] == "ingested"
    made.predict(conn, plant, 2)
    assert queries.file(conn, arrival.file_id)["state"] == "failed"
    kind, message, details = conn.execute(text("SELECT kind, message, details FROM event")).one()
    assert kind == "part_failed"
    assert "a.csv" in message
    assert "boom" in message
    assert details == {"part_id": 1, "file_id": arrival.file_id}
    assert accounts.violations(conn) == []


@pytest.mark.parametrize("ahead", ["20 minutes", "10 years"])
def test_a_clock_that_was_ahead_makes_no_part_wait(conn: Connection, plant: Plant, ahead: str) -> None:
    """One that came meanwhile was never tried; one that failed meanwhile waits no longer than any other."""
    made.ingested(conn, plant.profile_id, [10, 10, 10])
    conn.execute(text("UPDATE part SET next_try_at = clock_timestamp() + CAST(:ahead AS interval)"), {"ahead": ahead})
    assert part_ids(conn) == [1, 2, 3]
    conn.execute(text("UPDATE part SET tries = 1 WHERE id = 2"))
    assert part_ids(conn) == ([1, 2, 3] if ahead == "10 years" else [1, 3])
    ledger.part_failed(conn, 3, "boom", 5)
    assert 3 not in part_ids(conn)


def test_the_pause_has_an_end(conn: Connection, plant: Plant) -> None:
    made.ingested(conn, plant.profile_id, [10])
    conn.execute(text("UPDATE part SET tries = 1000"))
    ledger.part_failed(conn, 1, "boom", 10_000)
    pause = ledger.lock_part(conn, 1).next_try_at - queries.clock(conn)
    assert 3590 < pause.total_seconds() <= 3600


def test_what_was_given_up_can_be_tried_again(conn: Connection, plant: Plant) -> None:
    arrival = made.ingested(conn, plant.profile_id, [10])
    other = made.ingested(conn, plant.profile_id, [10])
    for part_id in (1, 2):
        ledger.part_failed(conn, part_id, "boom", 1)
    assert ledger.retry_failed(conn, arrival.file_id) == 1
    assert queries.file(conn, arrival.file_id)["state"] == "ingested"
    assert queries.file(conn, other.file_id)["state"] == "failed"
    assert ledger.retry_failed(conn) == 1
    for part_id in part_ids(conn):
        made.predict(conn, plant, part_id)
    assert {file["state"] for file in queries.files(conn)} == {"predicted"}
    assert ledger.retry_failed(conn) == 0
    assert accounts.violations(conn) == []


def test_a_part_that_was_given_up_may_still_be_predicted(conn: Connection, plant: Plant) -> None:
    arrival = made.ingested(conn, plant.profile_id, [10])
    ledger.part_failed(conn, 1, "boom", 1)
    made.predict(conn, plant, 1)
    assert queries.file(conn, arrival.file_id)["state"] == "predicted"
    assert ledger.lock_part(conn, 1).error is None
    assert accounts.violations(conn) == []


def test_a_part_that_does_not_wait_cannot_fail(conn: Connection, plant: Plant) -> None:
    made.ingested(conn, plant.profile_id, [10])
    made.predict(conn, plant, 1)
    with pytest.raises(Conflict):
        ledger.part_failed(conn, 1, "late", 5)
    assert ledger.lock_part(conn, 1).state == "predicted"
