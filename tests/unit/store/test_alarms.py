from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict, NotFound
from appliance.store import alarms, queries
from appliance.store.engine import transaction
from tests.unit.store import made

NOW = datetime(2026, 11, 23, 5, 30, tzinfo=UTC)


@pytest.fixture
def machine(engine: Engine) -> int:
    with transaction(engine) as conn:
        return made.plant(conn).machines[0]


def opened(conn: Connection, machine: int) -> int:
    return alarms.open_alarm(conn, machine, NOW, 3, 0.5, 7, {"text": "hot"})


def test_an_episode_goes_on_until_it_is_closed(conn: Connection, machine: int) -> None:
    alarm = opened(conn, machine)
    alarms.update_alarm(conn, alarm, NOW + timedelta(minutes=1), 2, 0.75, 9)
    # A late one neither lowers the peak nor turns back the time.
    alarms.update_alarm(conn, alarm, NOW - timedelta(days=1), 1, 0.25)
    (found,) = queries.alarms(conn)
    assert (found["machine"], found["profile"], found["state"]) == ("M-1", "milling", "open")
    assert (found["opened_at"], found["last_seen_at"]) == (NOW, NOW + timedelta(minutes=1))
    assert (found["rows"], found["probability"], found["details"]) == (6, 0.75, {"text": "hot"})
    assert (found["first_prediction_id"], found["last_prediction_id"]) == (7, 9)
    alarms.close(conn, alarm, "calm")
    (found,) = queries.alarms(conn)
    assert (found["state"], found["close_reason"]) == ("closed", "calm")


def test_a_machine_has_one_open_alarm(conn: Connection, machine: int) -> None:
    first = opened(conn, machine)
    with pytest.raises(Conflict):
        opened(conn, machine)
    alarms.close(conn, first, "outcome")
    assert opened(conn, machine) > first


def test_of_many_that_open_at_once_one_does(engine: Engine, machine: int) -> None:
    def work(_: int) -> bool:
        try:
            with transaction(engine) as conn:
                opened(conn, machine)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(8))) == 1


def test_the_first_who_acknowledges_stays(conn: Connection, machine: int) -> None:
    alarm = opened(conn, machine)
    alarms.acknowledge(conn, alarm, "anna", "on my way")
    (first,) = queries.alarms(conn, state="acknowledged")
    alarms.acknowledge(conn, alarm, "ben")
    alarms.acknowledge(conn, alarm, "ben", "bearing ordered")
    (found,) = queries.alarms(conn)
    assert (found["acknowledged_by"], found["note"]) == ("anna", "bearing ordered")
    assert found["acknowledged_at"] == first["acknowledged_at"]


def test_a_snooze_ends_by_itself(conn: Connection, machine: int) -> None:
    alarm = opened(conn, machine)
    now = queries.clock(conn)
    alarms.snooze(conn, alarm, now + timedelta(hours=1))
    assert queries.alarms(conn)[0]["state"] == "snoozed"
    assert queries.alarms(conn, state="open") == []
    alarms.snooze(conn, alarm, now - timedelta(seconds=1))
    assert queries.alarms(conn)[0]["state"] == "open"


@pytest.mark.parametrize(
    "change",
    [
        lambda conn, alarm: alarms.update_alarm(conn, alarm, NOW, 1, 0.5),
        lambda conn, alarm: alarms.acknowledge(conn, alarm, "anna"),
        lambda conn, alarm: alarms.snooze(conn, alarm, NOW),
        lambda conn, alarm: alarms.close(conn, alarm, "calm"),
    ],
)
def test_only_an_open_alarm_changes(conn: Connection, machine: int, change: Callable[[Connection, int], None]) -> None:
    with pytest.raises(NotFound):
        change(conn, 1)
    alarm = opened(conn, machine)
    alarms.close(conn, alarm, "outcome")
    before = queries.alarms(conn)
    with pytest.raises(Conflict):
        change(conn, alarm)
    assert queries.alarms(conn) == before


def test_lists_of_alarms_can_be_narrowed(conn: Connection) -> None:
    mills, pumps = made.plant(conn), made.plant(conn, "pump")
    ids = [opened(conn, machine) for machine in (*mills.machines, *pumps.machines)]
    alarms.close(conn, ids[0], "calm")

    def found(**narrowed: object) -> list[int]:
        return [alarm["id"] for alarm in queries.alarms(conn, **narrowed)]  # type: ignore[arg-type]

    assert found() == ids[::-1]
    assert found(profile="pump") == [ids[3], ids[2]]
    assert found(state="open", profile="milling") == [ids[1]]
    assert found(machine="M-2", profile="pump") == [ids[3]]
    assert found(limit=2) == [ids[3], ids[2]]
    assert found(after_id=ids[2]) == [ids[1], ids[0]]


def test_an_outcome_keeps_a_copy_of_what_was_predicted(conn: Connection, machine: int) -> None:
    alarm = opened(conn, machine)
    first = alarms.record_outcome(conn, machine, NOW, "failure", "anna", "bearing", {"probability": 0.5}, alarm)
    second = alarms.record_outcome(conn, machine, NOW, "planned_work", "ben")
    later, earlier = queries.outcomes(conn)
    assert (earlier["id"], earlier["kind"], earlier["who"], earlier["note"]) == (first, "failure", "anna", "bearing")
    assert (earlier["predicted"], earlier["alarm_id"], earlier["happened_at"]) == ({"probability": 0.5}, alarm, NOW)
    assert (later["id"], later["predicted"], later["machine"]) == (second, None, "M-1")
    assert queries.outcomes(conn, machine="M-2") == []
    assert [o["id"] for o in queries.outcomes(conn, profile="milling", limit=1, after_id=second)] == [first]
    assert conn.execute(text("SELECT predicted IS NULL FROM outcome WHERE id = :id"), {"id": second}).scalar_one()
