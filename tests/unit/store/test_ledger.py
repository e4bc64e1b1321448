from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict
from appliance.store import accounts, ledger, queries
from appliance.store.engine import transaction
from tests.unit.store import made


@pytest.fixture
def profile_id(engine: Engine) -> int:
    with transaction(engine) as conn:
        return made.plant(conn).profile_id


def count(conn: Connection, table: str) -> int:
    return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def parts_of(conn: Connection, file_id: int) -> list[tuple[int, int, int]]:
    query = "SELECT number, start, rows FROM part WHERE file_id = :id ORDER BY number"
    return [tuple(row) for row in conn.execute(text(query), {"id": file_id})]


def test_a_claim_fixes_id_time_and_day(conn: Connection, profile_id: int) -> None:
    before = datetime.now(UTC)
    one, two = made.claimed(conn, profile_id), made.claimed(conn, profile_id)
    assert one.id != two.id
    assert one.file_id != two.file_id
    assert abs(one.arrived_at - before) < timedelta(minutes=1)
    assert one.day == one.arrived_at.astimezone(UTC).date()
    assert one.state == "claimed"


def test_a_claim_again_is_the_same_arrival(engine: Engine, profile_id: int) -> None:
    same: dict[str, Any] = {"path": "/raw/x.csv", "inode": 2**63 + 5, "device": 2**64 - 1, "content": "c"}
    with transaction(engine) as conn:
        first = made.claimed(conn, profile_id, **same)
    with transaction(engine) as conn:
        again = made.claimed(conn, profile_id, **same, name="x.csv")
        assert again == first
        assert (again.inode, again.device) == (2**63 + 5, 2**64 - 1)
        moved = made.claimed(conn, profile_id, **same | {"device": 8})
        assert moved.id == first.id, "a disk may have another number after the box was switched on again"
        assert count(conn, "arrival") == 1


@pytest.mark.parametrize(
    "other", [{"path": "/raw/y.csv"}, {"inode": 8}, {"mtime_ns": 8}, {"size": 8}, {"content": "d"}]
)
def test_another_file_is_another_arrival(conn: Connection, profile_id: int, other: dict[str, Any]) -> None:
    same: dict[str, Any] = {"path": "/raw/x.csv", "inode": 7, "content": "c"}
    assert made.claimed(conn, profile_id, **same).id != made.claimed(conn, profile_id, **same | other).id


def test_a_file_that_was_cleared_and_comes_again_is_a_new_arrival(conn: Connection, profile_id: int) -> None:
    same: dict[str, Any] = {"path": "/raw/x.csv", "inode": 7, "content": "c"}
    first = made.ingested(conn, profile_id, [10], **same)
    ledger.cleared(conn, first.id)
    again = made.claimed(conn, profile_id, **same)
    assert again.id != first.id
    assert again.state == "claimed"


def test_two_passes_that_claim_the_same_file_get_one_arrival(engine: Engine, profile_id: int) -> None:
    def claim(_: int) -> int:
        with transaction(engine) as conn:
            return made.claimed(conn, profile_id, path="/raw/x.csv", inode=7, content="c").id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(claim, range(12)))) == 1


def test_looking_again_and_again_uses_up_no_numbers(conn: Connection, profile_id: int) -> None:
    same: dict[str, Any] = {"path": "/raw/x.csv", "inode": 7, "content": "c"}
    first = made.claimed(conn, profile_id, **same)
    for _ in range(5):
        made.claimed(conn, profile_id, **same)
    assert made.claimed(conn, profile_id).file_id == first.file_id + 1


def test_a_profile_that_was_mended_meanwhile_judges_what_was_only_claimed(conn: Connection, profile_id: int) -> None:
    same: dict[str, Any] = {"path": "/raw/x.csv", "inode": 7, "content": "c"}
    new = made.digest("mended")
    first = made.claimed(conn, profile_id, **same)
    again = made.claimed(conn, profile_id, **same, contract_hash=new)
    assert (again.id, again.contract_hash) == (first.id, new)
    ledger.ingested(conn, again, made.record(0), [], [])
    done = made.claimed(conn, profile_id, **same, contract_hash=made.digest("newest"))
    assert (done.id, done.state, done.contract_hash) == (first.id, "ingested", new)


def test_an_ingested_file_is_on_the_books(conn: Connection, profile_id: int) -> None:
    arrival = made.claimed(conn, profile_id)
    issues = [made.Issue(count=3), made.Issue("missing", "speed", 1, ("\0", "\udcff", "=1+1"))]
    ledger.ingested(conn, arrival, made.record(250, 4), issues, [100, 100, 50])
    file = queries.file(conn, arrival.file_id)
    assert file["state"] == "ingested"
    assert (file["rows_in"], file["rows_good"], file["rows_bad"]) == (254, 250, 4)
    assert (file["arrived_at"], file["day"]) == (arrival.arrived_at, arrival.day)
    assert file["header"] == ["UDI", "Torque [Nm]"]
    assert parts_of(conn, arrival.file_id) == [(1, 0, 100), (2, 100, 100), (3, 200, 50)]
    assert queries.issues(conn, arrival.file_id) == [
        {"rule": "range", "column": "torque", "count": 3, "examples": ["-1", "1e9"]},
        {"rule": "missing", "column": "speed", "count": 1, "examples": ["\\x00", "\\udcff", "=1+1"]},
    ]
    assert accounts.violations(conn) == []


def test_ingesting_again_replaces(conn: Connection, profile_id: int) -> None:
    arrival = made.claimed(conn, profile_id)
    ledger.ingested(conn, arrival, made.record(250, 4), [made.Issue()], [100, 100, 50])
    ledger.ingested(conn, arrival, made.record(100, 2), [made.Issue("missing")], [100])
    assert count(conn, "file") == 1
    assert queries.file(conn, arrival.file_id)["rows_in"] == 102
    assert [issue["rule"] for issue in queries.issues(conn, arrival.file_id)] == ["missing"]
    assert parts_of(conn, arrival.file_id) == [(1, 0, 100)]
    assert accounts.violations(conn) == []


def test_a_file_that_is_being_predicted_is_not_replaced(conn: Connection, profile_id: int) -> None:
    plant = made.plant(conn)
    arrival = made.ingested(conn, profile_id, [10, 10])
    made.predict(conn, plant, 1)
    with pytest.raises(Conflict):
        ledger.ingested(conn, arrival, made.record(20), [], [20])


def test_a_file_without_good_rows_is_predicted_at_once(conn: Connection, profile_id: int) -> None:
    arrival = made.ingested(conn, profile_id, [], bad=3)
    assert queries.file(conn, arrival.file_id)["state"] == "predicted"
    assert accounts.violations(conn) == []


@pytest.mark.parametrize("parts", [[10], [10, 11], [20, 0], [10, 20, -10]])
def test_parts_must_make_the_good_rows(conn: Connection, profile_id: int, parts: list[int]) -> None:
    arrival = made.claimed(conn, profile_id)
    with pytest.raises(ValueError, match="do not make"):
        ledger.ingested(conn, arrival, made.record(20), [], parts)
    assert count(conn, "file") == 0


def test_known_content_is_found_under_its_profile_origin_and_contract_alone(conn: Connection, profile_id: int) -> None:
    other = made.plant(conn, "pump").profile_id
    arrival = made.ingested(conn, profile_id, [10], content="c")
    key = {"origin": "M-1", "sha256": made.digest("c"), "contract_hash": made.CONTRACT}
    known = ledger.known_file(conn, profile_id, **key)
    assert known is not None
    assert (known["id"], known["state"]) == (arrival.file_id, "ingested")
    assert ledger.known_file(conn, other, **key) is None
    for name, value in {"origin": "", "sha256": made.digest("d"), "contract_hash": made.digest("mended")}.items():
        assert ledger.known_file(conn, profile_id, **key | {name: value}) is None


def test_a_duplicate_leaves_the_books_alone(conn: Connection, profile_id: int) -> None:
    first = made.ingested(conn, profile_id, [10], content="c")
    again = made.claimed(conn, profile_id, content="c")
    ledger.finish_duplicate(conn, again, first.file_id)
    ledger.finish_duplicate(conn, again, first.file_id)
    found = accounts.accounting(conn)
    assert (found.arrivals, found.files, found.duplicates, found.rows_in) == (2, 1, 1, 10)
    # The first file may still be taken up again by a pass that was killed after it committed.
    ledger.ingested(conn, first, made.record(10), [], [10])
    assert accounts.violations(conn) == []


def test_content_that_two_passes_read_at_once_is_taken_once(engine: Engine, profile_id: int) -> None:
    with transaction(engine) as conn:
        one, two = (made.claimed(conn, profile_id, content="c") for _ in range(2))

    def take(arrival: Any) -> bool:
        try:
            with transaction(engine) as conn:
                ledger.ingested(conn, arrival, made.record(10), [], [10])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, [one, two])) == [False, True]
    with transaction(engine) as conn:
        assert (count(conn, "file"), count(conn, "part")) == (1, 1)


def test_a_quarantined_file_shows_among_the_files(conn: Connection, profile_id: int) -> None:
    arrival = made.claimed(conn, profile_id, content="c")
    ledger.quarantine(conn, arrival, "encoding", "It is no UTF-8.", "bad/q/1")
    ledger.quarantine(conn, arrival, "encoding", "It is no UTF-8.", "bad/q/2")
    (file,) = queries.files(conn)
    assert (file["state"], file["criticality"], file["reason"]) == ("quarantined", "high", "encoding")
    assert (file["rows_in"], file["quarantine_path"]) == (0, "bad/q/2")
    assert accounts.accounting(conn).quarantined == 1
    assert accounts.violations(conn) == []
    # Dropped again it is judged again.
    assert ledger.known_file(conn, profile_id, "M-1", made.digest("c"), made.CONTRACT) is None
    ledger.quarantine(conn, made.claimed(conn, profile_id, content="c"), "encoding", "Still.", None)
    assert len(queries.files(conn)) == 2


def test_an_arrival_ends_in_one_way(conn: Connection, profile_id: int) -> None:
    arrival = made.ingested(conn, profile_id, [10])
    with pytest.raises(Conflict):
        ledger.quarantine(conn, arrival, "encoding", "No.", None)
    with pytest.raises(Conflict):
        ledger.finish_duplicate(conn, arrival, arrival.file_id)
    with pytest.raises(Conflict):
        ledger.abandoned(conn, arrival, "gone")
    assert queries.file(conn, arrival.file_id)["state"] == "ingested"


def test_what_was_broken_off_is_seen_until_it_is_cleared(conn: Connection, profile_id: int) -> None:
    left, done, gone, cleared = (made.claimed(conn, profile_id) for _ in range(4))
    for arrival in (done, cleared):
        ledger.ingested(conn, arrival, made.record(1), [], [1])
    ledger.abandoned(conn, gone, "it went away")
    ledger.cleared(conn, cleared.id)
    ledger.cleared(conn, cleared.id)
    # Nothing was read of it: to clear it would lose it.
    ledger.cleared(conn, left.id)
    assert [(a.id, a.state) for a in ledger.uncleared(conn)] == [(left.id, "claimed"), (done.id, "ingested")]
    assert ledger.uncleared(conn, made.plant(conn, "pump").profile_id) == []


def test_runs_tell_done_from_skipped_and_killed(conn: Connection) -> None:
    done, killed = ledger.run_started(conn, "ingest"), ledger.run_started(conn, "predict")
    ledger.run_finished(conn, done, "done", {"files": 2})
    skipped = ledger.run_skipped(conn, "predict", "no new good data")
    rows = conn.execute(text("SELECT id, outcome, why, counts, finished_at >= started_at FROM run ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [
        (done, "done", None, {"files": 2}, True),
        (killed, None, None, {}, None),
        (skipped, "skipped", "no new good data", {}, True),
    ]


def test_an_event_is_kept_with_its_details(conn: Connection, profile_id: int) -> None:
    event = ledger.event(conn, "disk_low", "warning", "5 % left", {"free": float("inf")}, profile_id)
    row = conn.execute(
        text("SELECT kind, severity, message, details, profile_id FROM event WHERE id = :id"), {"id": event}
    )
    assert tuple(row.one()) == ("disk_low", "warning", "5 % left", {"free": None}, profile_id)
