"""Whatever is mixed, each step of the removal leaves the books in order, and what is real as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from appliance.store import accounts, alarms, demo_rows, ledger, models, writer
from tests import counts
from tests.unit.store import made
from tests.unit.store.made import Plant

MACHINES = ("M-1", "M-2", "demo-M-1", "demo-M-2")
REAL, MARKED = (0, 1), (2, 3)
TABLES = ("arrival", "file", "part", "quality_issue", "prediction", "machine", "alarm", "outcome", "machine_state")


@dataclass(frozen=True)
class Dropped:
    demo: bool
    parts: tuple[tuple[int, str], ...]  # rows and state
    bad: int
    again: bool  # the same content came a second time
    mends: bool  # the file before it
    shared: bool  # a real file that names a marked machine


FILES = st.lists(
    st.builds(
        Dropped,
        demo=st.booleans(),
        parts=st.lists(
            st.tuples(st.integers(1, 6), st.sampled_from(["waiting", "failed", "predicted"])), max_size=3
        ).map(tuple),
        bad=st.integers(0, 2),
        again=st.booleans(),
        mends=st.booleans(),
        shared=st.booleans(),
    ),
    max_size=6,
)


def put(conn: Connection, plant: Plant, files: list[Dropped]) -> None:
    before: int | None = None
    for number, one in enumerate(files):
        origin = "demo-M-1" if one.demo else "M-1"
        arrival = made.claimed(conn, plant.profile_id, content=number, origin=origin)
        sizes = [rows for rows, _ in one.parts]
        record = replace(made.record(sum(sizes), one.bad), mended_from=before if one.mends else None)
        ledger.ingested(conn, arrival, record, [made.Issue(count=one.bad)] if one.bad else [], sizes)
        before = arrival.file_id
        whose = MARKED if one.demo else (*REAL, *(MARKED[:1] if one.shared else ()))
        own = replace(plant, machines=tuple(plant.machines[n] for n in whose))
        parts = conn.execute(text("SELECT id FROM part WHERE file_id = :id ORDER BY number"), {"id": before}).scalars()
        for part, (_, state) in zip(parts.all(), one.parts, strict=True):
            if state == "predicted":
                made.predict(conn, own, part)
            if state == "failed":
                ledger.part_failed(conn, part, "no", 1)
        if one.again:
            twin = made.claimed(conn, plant.profile_id, content=number, origin=origin)
            ledger.finish_duplicate(conn, twin, arrival.file_id)
    models.lock_states(conn, plant.machines)
    for machine in plant.machines:
        own = replace(plant, machines=(machine,))
        writer.write_predictions(conn, made.batch(own, 5, source="api"))
        now = conn.execute(text("SELECT clock_timestamp()")).scalar_one()
        alarm = alarms.open_alarm(conn, machine, now, 1, 0.5, None, {})
        alarms.record_outcome(conn, machine, now, "failure", "tests", alarm_id=alarm)


def rows_of(conn: Connection, where: str = "true", **of: str) -> dict[str, list[str]]:
    return {
        name: sorted(conn.execute(text(f"SELECT t::text FROM {name} t WHERE {of.get(name, where)}")).scalars())
        for name in TABLES
    }


def real(conn: Connection) -> dict[str, list[str]]:
    machines = "(SELECT id FROM machine WHERE name NOT LIKE 'demo-%')"
    files = "(SELECT id FROM file WHERE origin NOT LIKE 'demo-%')"
    stay = f"(SELECT machine_id FROM prediction WHERE file_id IN {files})"
    return rows_of(
        conn,
        f"machine_id IN {machines}",
        arrival="origin NOT LIKE 'demo-%'",
        file="origin NOT LIKE 'demo-%'",
        part=f"file_id IN {files}",
        quality_issue=f"file_id IN {files}",
        prediction=f"file_id IN {files} OR file_id IS NULL AND machine_id IN {machines}",
        machine=f"id IN {machines} OR id IN {stay}",
    )


def removal(conn: Connection, rows: int, files: int) -> Iterator[str]:
    """The steps, one at a time, by name."""
    while demo_rows.delete_parts(conn, None, rows)[0]:
        yield "parts"
    demo_rows.delete_events(conn, None)
    for kind in (False, True):
        after = 0
        while gone := demo_rows.leaving(conn, None, files=kind, after=after, limit=files):
            after = gone[-1].arrival.id
            demo_rows.delete_arrivals(conn, gone)
            yield "arrivals"
    for machine in demo_rows.machines(conn, None):
        while demo_rows.delete_answers(conn, machine, rows):
            yield "answers"
        demo_rows.delete_machine(conn, machine)
        yield "machine"


@settings(
    max_examples=counts.examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(files=FILES, rows=st.integers(1, 12), at_once=st.integers(1, 3))
def test_every_step_leaves_the_books_in_order(conn: Connection, files: list[Dropped], rows: int, at_once: int) -> None:
    with conn.begin_nested() as savepoint:
        put(conn, made.plant(conn, machines=MACHINES), files)
        assert accounts.violations(conn) == []
        # A file that mended a simulated one loses its ancestor, and nothing else.
        conn.execute(text("CREATE TEMP TABLE line ON COMMIT DROP AS SELECT id, mended_from FROM file"))
        lineage = (
            "SELECT count(*) FROM line JOIN file a ON a.id = line.mended_from JOIN file f ON f.id = line.id"
            " WHERE a.origin LIKE 'demo-%' AND f.origin NOT LIKE 'demo-%'"
        )
        crossing = conn.execute(text(lineage)).scalar_one()
        wanted = real(conn)
        for step in removal(conn, rows, at_once):
            assert accounts.violations(conn) == [], step
            found = real(conn)
            assert found == wanted or (crossing and step == "arrivals"), step
            wanted = found
        left = rows_of(conn)
        assert left == wanted
        assert sum(demo_rows.count(conn, None).values()) == demo_rows.count(conn, None)["kept"]
        assert list(removal(conn, rows, at_once)) == ["machine"] * demo_rows.count(conn, None)["kept"]
        savepoint.rollback()


def test_a_large_file_goes_part_by_part_from_its_end(conn: Connection) -> None:
    plant = made.plant(conn, machines=MACHINES)
    made.ingested(conn, plant.profile_id, [50, 50, 50], bad=3, origin="demo-M-1")
    for part in (1, 2):
        made.predict(conn, replace(plant, machines=plant.machines[2:]), part)
    seen = []
    for _ in range(4):
        file = conn.execute(text("SELECT rows_in, rows_good, state FROM file")).one()
        seen.append((*file, *demo_rows.delete_parts(conn, None, 60)))
        assert accounts.violations(conn) == []
    assert seen == [
        (153, 150, "ingested", 50, 0),
        (103, 100, "predicted", 50, 50),
        (53, 50, "predicted", 50, 50),
        (3, 0, "predicted", 0, 0),
    ]


def test_other_predictions_between_the_ids_of_a_part_stay(conn: Connection) -> None:
    plant = made.plant(conn, machines=MACHINES)
    writer.write_predictions(conn, made.batch(plant, 5, source="api"))
    made.ingested(conn, plant.profile_id, [5], origin="demo-M-1")
    made.predict(conn, replace(plant, machines=plant.machines[2:]), 1)
    conn.execute(text("UPDATE part SET first_id = first_id - 5"))
    assert demo_rows.delete_parts(conn, None, 100) == (5, 5)
    assert conn.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 5


def test_no_walk_through_all_predictions(conn: Connection) -> None:
    """Single predictions are found by an index in a table of many."""
    plant = made.plant(conn, machines=MACHINES)
    rng = np.random.default_rng(0)
    for seed in range(3):
        writer.write_predictions(conn, made.batch(plant, 5_000, source="api", seed=seed))
    made.ingested(conn, plant.profile_id, [int(rng.integers(5, 9)) for _ in range(40)], origin="demo-M-1")
    for part in range(1, 41):
        made.predict(conn, replace(plant, machines=plant.machines[2:]), part)
    conn.execute(text("ANALYZE"))
    conn.execute(text("SELECT pg_stat_force_next_flush()"))
    scans = "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables WHERE relname LIKE 'prediction_2%'"
    before = conn.execute(text(scans)).scalar_one()
    with conn.begin_nested() as savepoint:  # its switches go with it
        assert demo_rows.delete_answers(conn, plant.machines[2], 1_000) == 1_000
        savepoint.rollback()
    assert demo_rows.delete_parts(conn, None, 10_000)[1] > 0
    assert conn.execute(text(scans)).scalar_one() == before


@pytest.mark.parametrize("marked", [True, False])
def test_an_event_of_a_simulated_file_goes_with_its_message(conn: Connection, marked: bool) -> None:
    plant = made.plant(conn)
    arrival = made.ingested(conn, plant.profile_id, [3], origin="demo-M-1" if marked else "M-1")
    ledger.part_failed(conn, 1, "no", 1)
    ledger.event(conn, "file_changed", "error", "It changed.", {"arrival": arrival.id})
    ledger.event(conn, "else", "error", "Else.", {"file_id": 10**6, "arrival": 10**6})
    assert demo_rows.delete_events(conn, None) == (2 if marked else 0)
    left = 1 if marked else 3
    assert conn.execute(text("SELECT count(*) FROM event")).scalar_one() == left
    assert conn.execute(text("SELECT count(*) FROM notice WHERE kind = 'event'")).scalar_one() in (left, 0)
