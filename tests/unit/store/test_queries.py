from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from appliance.errors import NotFound
from appliance.store import ledger, models, queries, search
from appliance.store.engine import transaction
from appliance.store.queries import PredictionFilter
from appliance.store.rows import LATE, OUTSIDE
from appliance.store.writer import write_predictions
from tests import counts
from tests.unit.store import made

# In the order of writing; the clock jumps to and fro, over the edges of months and hours.
TIMES = [
    datetime(2026, 10, 31, 23, 59, 59, 999999, UTC),
    datetime(2026, 11, 1, 0, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 0, 30, tzinfo=UTC),
    datetime(2026, 12, 24, 18, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 1, 0, tzinfo=UTC),
    datetime(2026, 11, 2, 12, 0, tzinfo=UTC),
]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """Two profiles, of which both have a machine M-1, all sources, files, jumps of the clock and gaps in the ids."""
    with transaction(engine) as conn:
        mills = made.plant(conn, machines=["M-1", "M-2", "silent"])
        pumps = made.plant(conn, "pump", machines=["M-1", "P-2"])
        for seed, at in enumerate(TIMES):
            flags = np.arange(40, dtype=np.int16) % (LATE + OUTSIDE + 1)
            write_predictions(conn, made.batch(mills, 40, seed=seed, flags=flags), at)
            write_predictions(conn, made.batch(pumps, 15, seed=seed, source="api"), at)
            write_predictions(conn, made.batch(mills, 1, seed=seed, source="webapp"), at + timedelta(seconds=5))
            with conn.begin_nested() as gap:
                write_predictions(conn, made.batch(mills, 3000))
                gap.rollback()
        for size in (30, 30):
            made.ingested(conn, mills.profile_id, [size])
        for part in ledger.waiting_parts(conn, 10):
            made.predict(conn, mills, part.id)
    return engine


def every_row(conn: Connection) -> list[dict[str, Any]]:
    """All predictions, newest first, by a query without any cleverness."""
    query = (
        "SELECT p.id, p.predicted_at, p.read_at, profile.name AS profile, machine.name AS machine, p.source,"
        " p.file_id, p.row, p.probability, p.failing, p.flags FROM prediction p"
        " JOIN profile ON profile.id = p.profile_id JOIN machine ON machine.id = p.machine_id ORDER BY p.id DESC"
    )
    rows = [dict(row) for row in conn.execute(text(query)).mappings()]
    for row in rows:
        row["source"] = {1: "webapp", 2: "scheduled", 3: "api"}[row["source"]]
        flags = row.pop("flags")
        row |= {"late": flags & 1 == 1, "outside": flags & 2 == 2, "model_version": "v1"}
    return rows


def fits(row: dict[str, Any], wanted: PredictionFilter) -> bool:
    return (
        wanted.profile in (None, row["profile"])
        and (wanted.from_ is None or row["predicted_at"] >= wanted.from_)
        and (wanted.to is None or row["predicted_at"] < wanted.to)
        and wanted.source in (None, row["source"])
        and wanted.machine in (None, row["machine"])
        and wanted.failing in (None, row["failing"])
        and (wanted.min_probability is None or row["probability"] >= np.float32(wanted.min_probability))
        and wanted.file_id in (None, row["file_id"])
    )


_moments = st.sampled_from(TIMES) | st.datetimes(datetime(2026, 10, 31), datetime(2026, 12, 31), timezones=st.just(UTC))
filters = st.builds(
    PredictionFilter,
    profile=st.none() | st.sampled_from(["milling", "pump", "nobody"]),
    from_=st.none() | _moments,
    to=st.none() | _moments,
    source=st.none() | st.sampled_from(["webapp", "scheduled", "api"]),
    machine=st.none() | st.sampled_from(["M-1", "M-2", "P-2", "silent", "nobody"]),
    failing=st.none() | st.booleans(),
    min_probability=st.none() | st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.9, 1.0]),
    file_id=st.none() | st.sampled_from([1, 2, 77]),
)


@example(PredictionFilter(from_=TIMES[2]), 1000)
@example(PredictionFilter(to=TIMES[2] + timedelta(microseconds=1)), 1000)
@example(PredictionFilter(min_probability=0.1), 7)
@settings(max_examples=counts.examples(120), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=filters, limit=st.sampled_from([1, 7, 1000]))
def test_every_filter_finds_what_fits_page_by_page(filled: Engine, wanted: PredictionFilter, limit: int) -> None:
    with transaction(filled) as conn:
        expected = [row for row in every_row(conn) if fits(row, wanted)]
        found: list[dict[str, Any]] = []
        while page := queries.predictions(conn, wanted, limit, found[-1]["id"] if found else None):
            assert len(page) <= limit
            found += page
            if limit == 1 and len(found) == 5:
                expected = expected[:5]
                break
    assert found == expected


@contextmanager
def rows_read(conn: Connection) -> Iterator[list[int]]:
    """How many rows of predictions were fetched, by whatever road."""

    def fetched() -> int:
        query = (
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
            " WHERE relname LIKE 'prediction_20%'"
        )
        return int(conn.execute(text(query)).scalar_one())

    before, read = fetched(), [0]
    yield read
    read[0] = fetched() - before


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_page_does_not_read_the_whole_table(engine: Engine, analyzed: bool) -> None:
    rare = datetime(2026, 9, 1, tzinfo=UTC)
    with transaction(engine) as conn:
        mills = made.plant(conn, machines=[f"M-{i}" for i in range(10)] + ["silent"])
        pumps = made.plant(conn, "pump")
        busy = dataclasses.replace(mills, machines=mills.machines[:-1])
        silent = dataclasses.replace(mills, machines=mills.machines[-1:])
        write_predictions(conn, made.batch(silent, 20, source="api"), rare)
        write_predictions(conn, made.batch(pumps, 20), rare)
        for month in range(9, 13):
            calm = made.batch(busy, 20_000, probability=np.full(20_000, 0.01, np.float32))
            calm = dataclasses.replace(calm, failing=calm.probability > 0.5)
            write_predictions(conn, calm, datetime(2026, month, 2, tzinfo=UTC))
    if analyzed:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("ANALYZE"))
    with transaction(engine) as conn:
        for wanted in (
            PredictionFilter(),
            PredictionFilter(profile="milling"),
            PredictionFilter(source="scheduled"),
            PredictionFilter(machine="M-3"),
            PredictionFilter(machine="silent"),
            PredictionFilter(profile="pump"),
            PredictionFilter(source="api"),
            PredictionFilter(failing=True),
            PredictionFilter(min_probability=0.4),
            PredictionFilter(machine="M-3", failing=True),
            PredictionFilter(machine="M-3", source="api"),
            PredictionFilter(source="webapp", failing=True),
            PredictionFilter(profile="pump", source="scheduled", min_probability=0.2),
            PredictionFilter(source="api", from_=rare + timedelta(days=1)),
            PredictionFilter(to=rare + timedelta(hours=1)),
            PredictionFilter(from_=rare + timedelta(days=1), to=rare + timedelta(days=1, hours=1)),
        ):
            with rows_read(conn) as read:
                queries.predictions(conn, wanted, 10)
            # A bucket of ids is the grain of times.
            assert read[0] <= 100 + (4096 if wanted.to else 0), wanted


@contextmanager
def pages_read(conn: Connection) -> Iterator[list[int]]:
    """How many pages of tables and indexes a search touched, by the database's own account of its plan."""
    read = [0]

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "FROM prediction AS p" in statement:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            [[plan]] = cursor.fetchone()
            read[0] += plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]

    event.listen(conn, "before_cursor_execute", explain)
    try:
        yield read
    finally:
        event.remove(conn, "before_cursor_execute", explain)


def test_few_among_many_suspects_are_found_without_a_walk_through_them(engine: Engine) -> None:
    with transaction(engine) as conn:
        mills = made.plant(conn, machines=[f"M-{i}" for i in range(10)] + ["silent"])
        busy = dataclasses.replace(mills, machines=mills.machines[:-1])
        silent = dataclasses.replace(mills, machines=mills.machines[-1:])
        at = datetime(2026, 9, 1, tzinfo=UTC)
        for number, (whose, rows, probability) in enumerate([(silent, 5, 0.95), *4 * [(busy, 20_000, 0.4)]]):
            flat = {"probability": np.full(rows, probability, np.float32), "failing": np.ones(rows, np.bool_)}
            batch = dataclasses.replace(made.batch(whose, rows), **flat)
            write_predictions(conn, batch, at + timedelta(hours=number))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM (ANALYZE)"))
    with transaction(engine) as conn:
        whole = conn.execute(text("SELECT pg_relation_size('prediction_2026_09') / 8192")).scalar_one()
        assert whole > 1000
        for wanted in (
            PredictionFilter(min_probability=0.9),
            PredictionFilter(source="scheduled", min_probability=0.9),
            PredictionFilter(failing=False, min_probability=0.5),
            PredictionFilter(machine="silent", failing=True),
            PredictionFilter(machine="silent", min_probability=0.2),
            PredictionFilter(machine="M-3", min_probability=0.5, from_=at),
        ):
            with pages_read(conn) as read:
                found = queries.predictions(conn, wanted, 10)
            assert len(found) == (0 if wanted.failing is False or wanted.machine == "M-3" else 5), wanted
            # All suspects are 80,000 entries in some 400 pages, those of a machine a tenth.
            assert 0 < read[0] <= 100, (wanted, read)


def test_a_search_leaves_the_session_as_it_was(conn: Connection) -> None:
    before = conn.execute(text("SELECT name, setting FROM pg_settings WHERE name LIKE 'enable_%'")).all()
    made.plant(conn)
    queries.predictions(conn, PredictionFilter(failing=True), 10)
    after = conn.execute(text("SELECT name, setting FROM pg_settings WHERE name LIKE 'enable_%'")).all()
    assert sorted(map(tuple, after)) == sorted(map(tuple, before))


def test_the_indexes_of_suspects_begin_where_the_search_believes(conn: Connection) -> None:
    of_suspects = "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ix_prediction_suspect%' ORDER BY indexname"
    suspects, of_machine = conn.execute(text(of_suspects)).scalars()

    def begins(index: str, bound: float) -> bool:
        return f"probability >= ({bound})::real" in index or f"probability >= '{bound}'::real" in index

    assert begins(suspects, search.SUSPECT)
    assert begins(suspects, search.LIKELY)
    assert begins(of_machine, search.SUSPECT)


def test_one_prediction_has_all_that_was_stored(conn: Connection) -> None:
    plant = made.plant(conn)
    batch = made.batch(plant, 2, flags=np.array([LATE, OUTSIDE], dtype=np.int16))
    batch.features[1] = [np.nan, 1.5]
    first, at = write_predictions(conn, batch)
    found = queries.prediction(conn, first + 1)
    assert found["features"] == [None, 1.5]
    assert found["modes"] == pytest.approx([float(batch.modes[1, 0])])
    assert (found["feature_names"], found["mode_names"]) == (["a", "b"], ["wear"])
    assert (found["late"], found["outside"], found["predicted_at"]) == (False, True, at)
    assert (found["profile"], found["model_version"], found["card"]) == ("milling", "v1", {"threshold": 0.25})
    assert queries.prediction(conn, first)["late"]
    with pytest.raises(NotFound):
        queries.prediction(conn, first + 2)


def test_files_can_be_narrowed(conn: Connection) -> None:
    plant, pump = made.plant(conn), made.plant(conn, "pump")
    one = made.ingested(conn, plant.profile_id, [10])
    two = made.ingested(conn, pump.profile_id, [])
    three = made.claimed(conn, plant.profile_id)
    ledger.quarantine(conn, three, "encoding", "No.", None)
    ids = [one.file_id, two.file_id, three.file_id]

    def found(**narrowed: Any) -> list[int]:
        return [file["id"] for file in queries.files(conn, **narrowed)]

    assert found() == ids[::-1]
    assert found(profile="milling") == [ids[2], ids[0]]
    assert found(criticality="high") == [ids[2]]
    assert found(state="predicted") == [ids[1]]
    assert found(from_=two.arrived_at, to=three.arrived_at) == [ids[1]]
    assert found(limit=1, after_id=ids[2]) == [ids[1]]
    with pytest.raises(NotFound):
        queries.file(conn, 77)
    with pytest.raises(NotFound):
        queries.issues(conn, 77)
    assert queries.issues(conn, ids[0]) == []


def test_machines_show_their_last_reading(conn: Connection) -> None:
    plant = made.plant(conn)
    made.plant(conn, "pump", machines=["P-1"])
    (state,) = models.lock_states(conn, plant.machines[:1]).values()
    state.last_probability, state.recent = 0.5, [{"torque": 1}, {"torque": 2}]
    models.save_states(conn, [state])
    found = queries.machines(conn)
    assert [(m["profile"], m["name"], m["last_probability"], m["last_row"]) for m in found] == [
        ("milling", "M-1", 0.5, {"torque": 2}),
        ("milling", "M-2", None, None),
        ("pump", "P-1", None, None),
    ]
    assert [m["name"] for m in queries.machines(conn, "pump")] == ["P-1"]


def test_the_backlog_counts_what_waits(conn: Connection) -> None:
    plant = made.plant(conn)
    assert queries.backlog(conn) == {
        "parts_waiting": 0,
        "rows_waiting": 0,
        "parts_failed": 0,
        "arrivals_uncleared": 0,
    }
    arrival = made.ingested(conn, plant.profile_id, [10, 20, 30])
    made.predict(conn, plant, 1)
    ledger.part_failed(conn, 2, "boom", 1)
    conn.execute(text("UPDATE file SET ingested_at = ingested_at - interval '1 hour'"))
    found = queries.backlog(conn)
    assert found.pop("oldest_waiting_seconds") == pytest.approx(3600, abs=60)
    assert found == {"parts_waiting": 1, "rows_waiting": 30, "parts_failed": 1, "arrivals_uncleared": 1}
    ledger.cleared(conn, arrival.id)
    made.plant(conn, "pump")
    assert queries.backlog(conn, "pump")["parts_waiting"] == 0
    assert queries.backlog(conn)["arrivals_uncleared"] == 0


def test_the_clock_is_the_databases(conn: Connection) -> None:
    assert queries.clock(conn) <= queries.clock(conn)
    assert queries.clock(conn).utcoffset() == timedelta(0)
