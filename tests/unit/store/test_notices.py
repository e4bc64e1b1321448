"""Notices and deliveries: written with their cause, opened for whoever wants them, ended once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import StoreAway
from appliance.notify_causes import AlarmCause, EventCause, FileCause
from appliance.store import alarms, journal, ledger, notices, queries
from appliance.store.engine import transaction
from appliance.store.notices import Addressee
from appliance.store.rows import FileRecord
from tests.unit.store import made

NOW = datetime(2026, 11, 23, 5, 30, tzinfo=UTC)
ALL = Addressee(made.digest("all"), "json://one", frozenset({"alarm", "file", "event"}))
ALARMS = Addressee(made.digest("alarms"), "json://two", frozenset({"alarm"}))
BAD = FileRecord(10, 2, 8, "high", "good/1.parquet", "bad/1.csv", "bad/1.html", ("UDI",), "utf-8")


@pytest.fixture
def plant(engine: Engine) -> made.Plant:
    with transaction(engine) as conn:
        return made.plant(conn)


def rows(conn: Connection, query: str, **values: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in conn.execute(text(query), values)]


def opened(conn: Connection, plant: made.Plant, machine: int = 0) -> int:
    details = {"title": "Heat", "text": "too hot", "action": "cool it"}
    return alarms.open_alarm(conn, plant.machines[machine], NOW, 3, 0.5, 7, details)


def take_up(conn: Connection, *addressees: Addressee, **more: Any) -> datetime:
    now = more.pop("now", None) or queries.clock(conn)
    notices.open_deliveries(conn, addressees, more.pop("files", ["high"]), now, all_known=more.pop("all_known", True))
    return now


def due(conn: Connection, addressee: Addressee, now: datetime) -> list[tuple[str, int]]:
    """(kind, id of the cause) of what is to go out."""
    found = [one.notice_id for one in notices.due(conn, addressee.target, now)]
    return [
        tuple(row)  # type: ignore[misc]
        for row in rows(conn, "SELECT kind, ref_id FROM notice WHERE id = ANY(:ids) ORDER BY id", ids=found)
    ]


def test_a_cause_is_noted_once(conn: Connection) -> None:
    for _ in range(3):
        notices.add(conn, "event", 5)
    notices.add(conn, "file", 5)
    assert rows(conn, "SELECT kind, ref_id FROM notice ORDER BY id") == [("event", 5), ("file", 5)]


def test_causes_write_their_notice_with_them(conn: Connection, plant: made.Plant) -> None:
    alarm = opened(conn, plant)
    arrival = made.claimed(conn, plant.profile_id)
    for _ in range(2):
        ledger.ingested(conn, arrival, BAD, [made.Issue(count=8)], [2])
    refused = made.claimed(conn, plant.profile_id)
    for _ in range(2):
        ledger.quarantine(conn, refused, "empty", "It is empty.", None)
    made.ingested(conn, plant.profile_id, [10])
    event = journal.event(conn, "part_failed", "error", "given up")
    journal.event(conn, "file_changed", "warning", "changed")
    assert rows(conn, "SELECT kind, ref_id FROM notice ORDER BY id") == [
        ("alarm", alarm),
        ("file", arrival.file_id),
        ("file", refused.file_id),
        ("event", event),
    ]


def test_what_is_rolled_back_is_told_to_nobody(engine: Engine, plant: made.Plant) -> None:
    class Away(Exception):
        pass

    with pytest.raises(Away), transaction(engine) as conn:  # noqa: PT012
        opened(conn, plant)
        raise Away
    with transaction(engine) as conn:
        assert rows(conn, "SELECT * FROM notice") == []


def test_causes_come_back_with_all_that_messages_need(conn: Connection, plant: made.Plant) -> None:
    opened(conn, plant)
    arrival = made.claimed(conn, plant.profile_id)
    ledger.ingested(conn, arrival, BAD, [made.Issue(count=8), made.Issue("not_null", "speed", 3)], [2])
    journal.event(conn, "part_failed", "error", "given up", {"file_id": 9, "more": "x"})
    journal.event(conn, "run_failed", "error", "broke off", {"file_id": "no number"})
    ids = [row[0] for row in rows(conn, "SELECT id FROM notice ORDER BY id")]
    alarm, file, event, other = (notices.causes(conn, ids)[id_] for id_ in ids)
    assert isinstance(alarm, AlarmCause)
    assert (alarm.machine, alarm.profile, alarm.opened_at, alarm.probability) == ("M-1", "milling", NOW, 0.5)
    assert (alarm.first_prediction_id, alarm.details["action"], alarm.closed_at) == (7, "cool it", None)
    assert isinstance(file, FileCause)
    assert (file.file_id, file.name, file.origin, file.rows_in, file.rows_bad) == (
        *(arrival.file_id, arrival.name, "M-1"),
        *(10, 8),
    )
    assert file.issues == (("range", "torque", 8), ("not_null", "speed", 3))
    assert file.has_report
    assert isinstance(event, EventCause)
    assert isinstance(other, EventCause)
    assert (event.message, event.file_id, other.file_id) == ("given up", 9, None)
    assert notices.causes(conn, []) == {}


def test_each_gets_what_it_wants_and_all_is_settled_when_nobody_waits(conn: Connection, plant: made.Plant) -> None:
    alarm = opened(conn, plant)
    event = journal.event(conn, "part_failed", "error", "given up")
    now = take_up(conn, ALL, ALARMS)
    assert due(conn, ALL, now) == [("alarm", alarm), ("event", event)]
    assert due(conn, ALARMS, now) == [("alarm", alarm)]
    ids = [one.notice_id for one in notices.due(conn, ALL.target, now)]
    notices.mark_sent(conn, ALL.target, ids, now)
    assert notices.sent_times(conn, ALL.target, now - timedelta(hours=1)) == [now]
    notices.finish(conn, now, all_known=True)
    assert rows(conn, "SELECT kind, settled_at IS NULL FROM notice ORDER BY id") == [("alarm", True), ("event", False)]
    later = now + timedelta(minutes=5)
    notices.mark_failed(conn, ALARMS.target, ids[:1], "no answer", later)
    assert notices.failures(conn, ALARMS.target) == 1
    notices.finish(conn, now, all_known=True)
    assert rows(conn, "SELECT due_at FROM notice WHERE settled_at IS NULL") == [(later,)]
    assert take_up(conn, ALL, ALARMS)
    assert due(conn, ALARMS, now) == []
    assert due(conn, ALARMS, later) == [("alarm", alarm)]
    notices.postpone(conn, ALARMS.target, ids[:1], later + timedelta(minutes=1))
    assert due(conn, ALARMS, later) == []
    assert notices.waiting_count(conn) == 1
    notices.mark_sent(conn, ALARMS.target, ids[:1], later)
    notices.finish(conn, later, all_known=True)
    assert notices.waiting_count(conn) == 0


def test_a_delivery_ends_once(conn: Connection, plant: made.Plant) -> None:
    opened(conn, plant)
    now = take_up(conn, ALL)
    [one] = notices.due(conn, ALL.target, now)
    notices.mark_sent(conn, ALL.target, [one.notice_id], now)
    notices.mark_sent(conn, ALL.target, [one.notice_id], now + timedelta(hours=1))
    notices.mark_failed(conn, ALL.target, [one.notice_id], "late", now)
    assert rows(conn, "SELECT sent_at, tries, error FROM delivery") == [(now, 0, None)]
    take_up(conn)
    take_up(conn, ALL)
    assert notices.due(conn, ALL.target, now + timedelta(days=1)) == []


@pytest.mark.parametrize(("files", "told"), [(["high"], ["high"]), (["high", "medium"], ["high", "medium"]), ([], [])])
def test_files_by_criticality(conn: Connection, plant: made.Plant, files: list[str], told: list[str]) -> None:
    opened(conn, plant)
    for criticality in ("high", "medium"):
        arrival = made.claimed(conn, plant.profile_id)
        values = (10, 2, 8, criticality, "good/1", "bad/1", None, (), None)
        ledger.ingested(conn, arrival, FileRecord(*values), [], [2])  # type: ignore[arg-type]
    now = take_up(conn, ALL, files=files)
    query = "SELECT criticality FROM file WHERE id = :id"
    found = [rows(conn, query, id=id_)[0][0] for kind, id_ in due(conn, ALL, now) if kind == "file"]
    assert found == told
    assert [kind for kind, _ in due(conn, ALL, now)].count("alarm") == 1


def test_with_a_wrong_line_nothing_is_settled_or_given_up_for_want_of_a_target(
    conn: Connection, plant: made.Plant
) -> None:
    opened(conn, plant)
    now = take_up(conn, all_known=False)
    assert notices.waiting_count(conn) == 1
    notices.finish(conn, now, all_known=False)
    assert rows(conn, "SELECT due_at > :now FROM notice", now=now) == [(True,)]
    take_up(conn, ALL)
    take_up(conn, ALARMS, all_known=False)
    assert len(notices.due(conn, ALL.target, queries.clock(conn))) == 1
    assert notices.due(conn, ALARMS.target, queries.clock(conn)) == []
    take_up(conn, ALARMS)
    assert notices.due(conn, ALL.target, queries.clock(conn)) == []
    assert len(notices.due(conn, ALARMS.target, queries.clock(conn))) == 1


def test_a_list_says_what_became_of_each(conn: Connection, plant: made.Plant) -> None:
    first, second = opened(conn, plant), opened(conn, plant, 1)
    take_up(conn, ALL, ALARMS)
    journal.event(conn, "part_failed", "error", "given up")
    now = queries.clock(conn)
    [notice] = rows(conn, "SELECT id FROM notice WHERE kind = 'alarm' AND ref_id = :id", id=first)
    notices.mark_sent(conn, ALL.target, notice, now)
    notices.mark_failed(conn, ALARMS.target, notice, "no answer", now + timedelta(hours=1))
    alarms.acknowledge(conn, second, "anna")
    take_up(conn, ALL)
    found = {(one["kind"], one["ref_id"], one["target"]): one["state"] for one in notices.listed(conn, 10)}
    assert found == {
        ("alarm", first, "json://one"): "sent",
        ("alarm", first, "json://two"): "given up",
        ("alarm", second, "json://one"): "not needed",
        ("alarm", second, "json://two"): "not needed",
        ("event", rows(conn, "SELECT id FROM event")[0][0], "json://one"): "waiting",
    }
    take_up(conn)
    journal.event(conn, "part_failed", "error", "again")
    states = [(one["state"], one["target"]) for one in notices.listed(conn, 1)]
    assert states == [("waiting", None)]
    assert notices.given_up(conn, [ALL.target], now - timedelta(days=1)) == 1
    assert notices.given_up(conn, [ALL.target, ALARMS.target], now - timedelta(days=1)) == 2
    assert notices.given_up(conn, [ALL.target], queries.clock(conn)) == 0


def test_what_waits_for_long(conn: Connection, plant: made.Plant) -> None:
    opened(conn, plant)
    now = queries.clock(conn)
    assert notices.overdue(conn, now - timedelta(hours=1)) == (0, None)
    number, oldest = notices.overdue(conn, now)
    assert number == 1
    assert oldest is not None
    assert oldest < now


def test_one_sends_at_a_time_and_leaves_no_transaction_open(engine: Engine) -> None:
    with notices.only_sender(engine) as first:
        assert first is not None
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(_try, engine).result() is False
        with transaction(engine) as conn:
            query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            assert rows(conn, query + " AND datname = current_database()") == [(0,)]
    assert _try(engine)


def test_the_lock_goes_with_a_session_that_broke_off(engine: Engine) -> None:
    with pytest.raises(StoreAway), notices.only_sender(engine) as first:  # noqa: PT012
        assert first is not None
        with transaction(engine) as conn:
            conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            )
        assert _try(engine)
        with first.begin():
            queries.clock(first)
    assert _try(engine)


def _try(engine: Engine) -> bool:
    with notices.only_sender(engine) as mine:
        return mine is not None
