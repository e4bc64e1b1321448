from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, text

from appliance.errors import NotFound
from appliance.store import alarms, models, queries
from appliance.store.engine import transaction
from appliance.store.rows import MachineState
from tests import profiles
from tests.unit.store import made

NOW = datetime(2026, 11, 23, 5, 30, tzinfo=UTC)


def test_a_profile_keeps_its_id_and_takes_up_changes(conn: Connection) -> None:
    milling = profiles.load("milling")
    first = models.ensure_profile(conn, milling)
    mended = profiles.changed("milling", 'title = "Milling machine"', 'title = "Mill"')
    assert models.ensure_profile(conn, mended) == first
    row = conn.execute(text("SELECT title, hash, contract_hash, document FROM profile")).one()
    assert (row.title, row.hash, row.contract_hash) == ("Mill", mended.hash(), mended.contract_hash())
    assert row.document == mended.model_dump(mode="json", by_alias=True)
    assert models.ensure_profile(conn, profiles.load("pump")) == first + 1


def test_asking_for_the_same_uses_up_no_numbers(conn: Connection) -> None:
    one, two = profiles.load("milling"), profiles.changed("milling", 'title = "Torque"', 'title = "Moment"')
    for _ in range(3):
        profile_id = models.ensure_profile(conn, one)
        models.ensure_profile(conn, two)
        models.ensure_machines(conn, profile_id, ["a", "b"])
        models.ensure_model(conn, profile_id, "v1", {}, True)
    assert models.ensure_profile(conn, profiles.load("pump")) == profile_id + 1
    ids = models.ensure_machines(conn, profile_id, ["a", "b", "c"])
    assert ids["c"] == max(ids["a"], ids["b"]) + 1
    first = models.ensure_model(conn, profile_id, "v1", {}, True)
    assert models.ensure_model(conn, profile_id, "v2", {}, True) == first + 1


def test_machines_belong_to_their_profile(conn: Connection) -> None:
    milling, pump = (models.ensure_profile(conn, profiles.load(name)) for name in profiles.NAMES)
    assert set(models.ensure_machines(conn, milling, ["a"]).values()).isdisjoint(
        models.ensure_machines(conn, pump, ["a"]).values()
    )
    assert models.ensure_machines(conn, milling, []) == {}


def test_a_machine_whose_name_is_no_text_of_postgres_is_found_again(conn: Connection) -> None:
    profile_id = models.ensure_profile(conn, profiles.load("milling"))
    names = ["a\0", "\udcff", "ß", "a"]
    ids = models.ensure_machines(conn, profile_id, names)
    assert list(ids) == names
    assert len(set(ids.values())) == 4
    assert models.ensure_machines(conn, profile_id, names) == ids


def test_two_that_make_the_same_things_at_once_make_them_once(engine: Engine) -> None:
    start = threading.Barrier(4)

    def make(number: int) -> tuple[object, ...]:
        start.wait(10)
        with transaction(engine) as conn:
            profile_id = models.ensure_profile(conn, profiles.load("milling"))
            names = [f"M-{i}" for i in range(30)]
            machines = models.ensure_machines(conn, profile_id, names if number % 2 else names[::-1])
            model = models.ensure_model(conn, profile_id, "v1", {}, True)
            return profile_id, sorted(machines.items()), model

    with ThreadPoolExecutor(4) as pool:
        one, *others = pool.map(make, range(4))
    assert all(other == one for other in others)


def test_two_that_make_the_same_machines_in_another_order_do_not_lock_each_other_out(engine: Engine) -> None:
    with transaction(engine) as conn:
        profile_id = models.ensure_profile(conn, profiles.load("milling"))
    start = threading.Barrier(2)

    def make(order: int) -> None:
        for turn in range(5):
            names = [f"{turn}-{i}" for i in range(500)][::order]
            start.wait(10)
            with transaction(engine) as conn:
                models.ensure_machines(conn, profile_id, names)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, [1, -1]))


def test_one_model_of_a_profile_is_active(conn: Connection) -> None:
    plant, other = made.plant(conn), made.plant(conn, "pump")
    models.ensure_model(conn, plant.profile_id, "v2", {"auc": float("nan")}, False, ["a"], ["wear"])

    def active(profile: str) -> list[str]:
        return [model["version"] for model in queries.models(conn, profile) if model["active"]]

    assert active("milling") == ["v1"]
    assert models.ensure_model(conn, plant.profile_id, "v2", {}, False) != plant.model_id
    assert active("milling") == ["v1"]
    models.ensure_model(conn, plant.profile_id, "v2", {}, True)
    assert (active("milling"), active("pump")) == (["v2"], ["v1"])
    models.set_active(conn, plant.profile_id, "v1")
    models.set_active(conn, plant.profile_id, "v1")
    assert active("milling") == ["v1"]
    with pytest.raises(NotFound):
        models.set_active(conn, other.profile_id, "v2")
    (second, first) = queries.models(conn, "milling")
    assert (second["card"], second["features"], second["modes"]) == ({"auc": None}, ["a"], ["wear"])
    assert first["activated_at"] > second["activated_at"]


def test_activations_at_once_end_with_one_active(engine: Engine) -> None:
    versions = [f"v{i}" for i in range(8)]
    with transaction(engine) as conn:
        plant = made.plant(conn)
        for version in versions:
            models.ensure_model(conn, plant.profile_id, version, {}, False)

    def activate(version: str) -> None:
        with transaction(engine) as conn:
            models.set_active(conn, plant.profile_id, version)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(activate, versions))
    with transaction(engine) as conn:
        assert sum(model["active"] for model in queries.models(conn)) == 1


def test_a_state_comes_back_as_it_was_saved(conn: Connection) -> None:
    plant = made.plant(conn)
    one, two = plant.machines
    assert models.read_states(conn, [one]) == {}
    states = models.lock_states(conn, [two, one, two])
    assert states == {one: MachineState(one), two: MachineState(two)}
    alarm = alarms.open_alarm(conn, one, NOW, 3, 0.5, 7, {})
    changed = MachineState(
        one,
        recent=[{"_time": NOW.isoformat(), "torque": 1.25, "type": "L"}, {"torque": None}],
        verdicts=[True, False, True],
        calm=4,
        last_id=7,
        last_probability=0.25,
        last_failing=True,
        last_predicted_at=NOW,
        last_read_at=NOW,
        alarm_id=alarm,
        cooldown_until=NOW,
    )
    models.save_states(conn, [replace(states[two], calm=9), changed])
    assert models.read_states(conn, [one, two]) == {one: changed, two: MachineState(two, calm=9)}
    assert models.lock_states(conn, [one]) == {one: changed}
    models.save_states(conn, [])
    assert models.lock_states(conn, []) == {}
    alarms.close(conn, alarm, "calm")
    assert models.read_states(conn, [one])[one].alarm_id is None


def test_a_locked_state_is_waited_for_and_then_seen_as_it_became(engine: Engine) -> None:
    with transaction(engine) as conn:
        plant = made.plant(conn)
    began, asked = threading.Event(), threading.Event()

    def first() -> None:
        with transaction(engine) as conn:
            states = models.lock_states(conn, plant.machines)
            began.set()
            asked.wait(10)
            threading.Event().wait(0.1)
            models.save_states(conn, [replace(state, calm=5) for state in states.values()])

    def second() -> list[int]:
        began.wait(10)
        with transaction(engine) as conn:
            asked.set()
            return [state.calm for state in models.lock_states(conn, plant.machines).values()]

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert pool.submit(second).result(20) == [5, 5]


def test_batches_that_share_machines_never_lock_each_other_out(engine: Engine) -> None:
    with transaction(engine) as conn:
        machines = made.plant(conn, machines=[f"M-{i}" for i in range(20)]).machines

    def work(number: int) -> None:
        for turn in range(10):
            order = machines if (number + turn) % 2 else machines[::-1]
            with transaction(engine) as conn:
                states = models.lock_states(conn, order)
                # Saved in whatever order the caller has them.
                models.save_states(conn, [replace(states[m], calm=states[m].calm + 1) for m in order])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with transaction(engine) as conn:
        assert {state.calm for state in models.read_states(conn, machines).values()} == {40}
