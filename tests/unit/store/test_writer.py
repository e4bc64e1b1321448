# ruff: noqa: PT012  (what a transaction raises comes at the end of its block)
from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from appliance.store import writer
from appliance.store.engine import transaction
from appliance.store.rows import LATE, OUTSIDE, SOURCES, Batch
from appliance.store.writer import ensure_partition, reserve_ids, write_predictions
from tests import counts
from tests.unit.store import made

NOW = datetime(2026, 11, 23, 5, 30, 12, 345678, UTC)


def stored(conn: Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in conn.execute(text("SELECT * FROM prediction ORDER BY id")).mappings()]


def partitions(conn: Connection) -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'prediction'::regclass ORDER BY 1"
    return list(conn.execute(text(query)).scalars())


def assert_stored(found: list[dict[str, Any]], batch: Batch, first: int, at: datetime) -> None:
    assert [row["id"] for row in found] == list(range(first, first + len(batch)))
    assert {row["predicted_at"] for row in found} == {at}
    read = [row["read_at"].replace(tzinfo=None) for row in found]
    np.testing.assert_array_equal(np.array(read, "datetime64[us]"), batch.read_at.astype("datetime64[us]"))
    for name in ("file_id", "model_id", "profile_id"):
        assert {row[name] for row in found} == {getattr(batch, name)}
    assert {row["source"] for row in found} == {SOURCES[batch.source]}
    assert [row["row"] for row in found] == ([None] * len(batch) if batch.rows is None else batch.rows.tolist())
    assert [row["machine_id"] for row in found] == batch.machine_ids.tolist()
    assert [row["flags"] for row in found] == batch.flags.tolist()
    assert [row["failing"] for row in found] == batch.failing.tolist()
    for name in ("probability", "features", "modes"):
        values = np.array([row[name] for row in found], dtype=np.float32).reshape(getattr(batch, name).shape)
        np.testing.assert_array_equal(values, getattr(batch, name))


def test_a_batch_comes_back_as_it_was_written(conn: Connection) -> None:
    plant = made.plant(conn)
    n = 1000
    batch = made.batch(
        plant,
        n,
        source="api",
        file_id=2**40,
        rows=np.arange(7, 7 + n, dtype=np.int32),
        flags=np.arange(n, dtype=np.int16) % (LATE + OUTSIDE + 1),
        features=np.random.default_rng(1).normal(scale=1e20, size=(n, 40)).astype(np.float32),
    )
    batch.features[0, :5] = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-38], np.float32)
    batch.probability[:2] = [0, 1]
    first, at = write_predictions(conn, batch)
    assert_stored(stored(conn), batch, first, at)


@settings(max_examples=counts.examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.sampled_from([1, 2, 99, 100, 101, 250]),
    features=st.integers(0, 30),
    modes=st.integers(0, 5),
    in_file=st.booleans(),
    numbered=st.booleans(),
    data=st.data(),
)
def test_batches_of_any_shape_come_back(
    engine: Engine, n: int, features: int, modes: int, in_file: bool, numbered: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(n)
    chunk = data.draw(st.sampled_from([1, 100, 1000]))
    with pytest.MonkeyPatch.context() as patch, transaction(engine) as conn:
        patch.setattr(writer, "CHUNK_ROWS", chunk)
        conn.execute(text("TRUNCATE prediction"))
        batch = made.batch(
            made.plant(conn),
            n,
            file_id=5 if in_file else None,
            rows=np.arange(n, dtype=np.int32) if numbered else None,
            features=rng.normal(size=(n, features)).astype(np.float32),
            modes=rng.random((n, modes)).astype(np.float32),
        )
        first, at = write_predictions(conn, batch)
        assert_stored(stored(conn), batch, first, at)


def test_arrays_of_other_types_and_strides_are_written_by_value(conn: Connection) -> None:
    plant = made.plant(conn)
    whole = made.batch(plant, 20)
    strange = replace(
        whole,
        features=np.asfortranarray(np.repeat(whole.features, 2, axis=0)[::2]),
        machine_ids=whole.machine_ids.astype(np.int64),
        read_at=whole.read_at.astype("datetime64[ns]"),
        probability=whole.probability.astype(">f4"),
    )
    first, at = write_predictions(conn, strange)
    assert_stored(stored(conn), whole, first, at)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": np.arange(3, dtype=np.int32)},
        {"features": np.zeros((3, 2), np.float32)},
        {"modes": np.zeros(4, np.float32)},
        {"probability": np.zeros(5, np.float32)},
        {"read_at": np.array(["NaT"] * 4, "datetime64[us]")},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arrays_that_do_not_fit_together_are_refused(conn: Connection, wrong: dict[str, Any]) -> None:
    plant = made.plant(conn)
    with pytest.raises(ValueError, match=r"shape|missing"):
        write_predictions(conn, made.batch(plant, 4, **wrong))
    with pytest.raises(ValueError, match="at least one"):
        write_predictions(conn, made.batch(plant, 0))
    assert stored(conn) == []


@pytest.mark.parametrize(
    ("features", "modes", "in_file"),
    [(2, 1, True), (9, 4, True), (9, 4, False), (26, 5, False), (27, 3, True), (60, 8, True)],
)
def test_a_row_takes_the_bytes_that_were_promised(conn: Connection, features: int, modes: int, in_file: bool) -> None:
    n = 100_000
    rng = np.random.default_rng(0)
    batch = made.batch(
        made.plant(conn),
        n,
        file_id=1 if in_file else None,
        rows=np.arange(n, dtype=np.int32) if in_file else None,
        features=rng.normal(size=(n, features)).astype(np.float32),
        modes=rng.random((n, modes)).astype(np.float32),
    )
    _, at = write_predictions(conn, batch)
    size = conn.execute(text(f"SELECT pg_relation_size('{writer.partition_of(at)}')")).scalar_one()
    toast = conn.execute(
        text("SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = :name"),
        {"name": writer.partition_of(at)},
    ).scalar_one()
    assert toast == 0
    assert size / n <= 145 + 4 * (features + modes)


def test_the_memory_of_writing_does_not_grow_with_the_batch(conn: Connection) -> None:
    plant = made.plant(conn)

    def peak(n: int) -> int:
        batch = made.batch(plant, n)
        tracemalloc.start()
        write_predictions(conn, batch)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1000)
    assert peak(200_000) < peak(50_000) + 1_000_000


def test_ids_are_blocks_that_nobody_else_gets(engine: Engine) -> None:
    sizes = [1, 5, 100, 1, 7, 1000] * 40

    def reserve(_: int) -> list[range]:
        with transaction(engine) as conn:
            firsts = [reserve_ids(conn, n)[0] for n in sizes]
            return [range(first, first + n) for first, n in zip(firsts, sizes, strict=True)]

    with ThreadPoolExecutor(4) as pool:
        blocks = sorted((b for found in pool.map(reserve, range(4)) for b in found), key=lambda block: block.start)
    assert [b.start for b in blocks[1:]] == [b.stop for b in blocks[:-1]]


def test_who_reserved_ids_holds_nobody_up(engine: Engine) -> None:
    with transaction(engine) as slow:
        first, _ = reserve_ids(slow, 10)
        with transaction(engine) as quick:
            quick.execute(text("SET LOCAL lock_timeout = '50ms'"))
            second, _ = reserve_ids(quick, 10)
        slow.rollback()
        third, _ = reserve_ids(slow, 10)
    assert (second, third) == (first + 10, first + 20)


def test_time_never_goes_back_from_one_block_to_the_next(engine: Engine) -> None:
    def reserve(_: int) -> tuple[int, datetime]:
        with transaction(engine) as conn:
            return reserve_ids(conn, 3)

    with ThreadPoolExecutor(6) as pool:
        blocks = sorted(pool.map(reserve, range(60)))
    assert [at for _, at in blocks] == sorted(at for _, at in blocks)


def test_writers_side_by_side_lose_and_double_nothing(engine: Engine) -> None:
    with transaction(engine) as conn:
        plant = made.plant(conn)

    def write(seed: int) -> int:
        with transaction(engine) as conn:
            return write_predictions(conn, made.batch(plant, 500, seed=seed))[0]

    # The first of them makes the partition, while the others want it too.
    with ThreadPoolExecutor(4) as pool:
        firsts = list(pool.map(write, range(12)))
    with transaction(engine) as conn:
        found = stored(conn)
    assert len(found) == 12 * 500
    for seed, first in enumerate(firsts):
        mine = [row for row in found if first <= row["id"] < first + 500]
        assert_stored(mine, made.batch(plant, 500, seed=seed), first, mine[0]["predicted_at"])


@pytest.mark.parametrize(
    ("when", "name"),
    [
        (datetime(2026, 11, 30, 23, 59, 59, 999999, UTC), "prediction_2026_11"),
        (datetime(2026, 12, 1, tzinfo=UTC), "prediction_2026_12"),
        (datetime(2027, 1, 1, tzinfo=UTC) - timedelta(microseconds=1), "prediction_2026_12"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "prediction_2028_02"),
        (datetime.fromisoformat("2026-12-01T00:30:00+01:00"), "prediction_2026_11"),
        (datetime(1970, 1, 1, tzinfo=UTC), "prediction_1970_01"),
        (datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), "prediction_2038_01"),
    ],
)
def test_a_row_lies_in_the_partition_of_its_month(conn: Connection, when: datetime, name: str) -> None:
    write_predictions(conn, made.batch(made.plant(conn), 3), when)
    found = conn.execute(text("SELECT DISTINCT tableoid::regclass::text, predicted_at FROM prediction")).all()
    assert [tuple(row) for row in found] == [(name, when)]


def test_partitions_are_made_ahead_and_only_once(conn: Connection) -> None:
    ensure_partition(conn, datetime(2026, 12, 31, 23, tzinfo=UTC))
    assert partitions(conn) == ["prediction_2026_12", "prediction_2027_01"]
    ensure_partition(conn, NOW, ahead=3)
    assert partitions(conn) == [f"prediction_{m}" for m in ("2026_11", "2026_12", "2027_01", "2027_02")]


def test_a_clock_that_jumps_leaves_ids_in_order(conn: Connection) -> None:
    plant = made.plant(conn)
    jumps = [NOW, NOW + timedelta(days=4000), NOW - timedelta(days=400), NOW]
    firsts = [write_predictions(conn, made.batch(plant, 5), at)[0] for at in jumps]
    assert firsts == sorted(firsts)
    by_id = conn.execute(text("SELECT predicted_at FROM prediction ORDER BY id")).scalars().all()
    assert by_id == [at for at in jumps for _ in range(5)]


def test_a_new_partition_holds_up_neither_readers_nor_writers(engine: Engine) -> None:
    with transaction(engine) as conn:
        plant = made.plant(conn)
        write_predictions(conn, made.batch(plant, 5), NOW)
    with transaction(engine) as maker:
        ensure_partition(maker, NOW + timedelta(days=100))
        with transaction(engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '50ms'"))
            assert other.execute(text("SELECT count(*) FROM prediction")).scalar_one() == 5
            write_predictions(other, made.batch(plant, 5), NOW)


def test_two_that_want_the_same_partition_make_it_once(engine: Engine) -> None:
    began, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with transaction(engine) as conn:
            ensure_partition(conn, NOW)
            began.set()
            go_on.wait(10)

    def second() -> list[str]:
        began.wait(10)
        with transaction(engine) as conn:
            threading.Timer(0.1, go_on.set).start()
            ensure_partition(conn, NOW)
            return partitions(conn)

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(first), pool.submit(second)
        one.result(20)
        assert two.result(20) == ["prediction_2026_11", "prediction_2026_12"]


def test_a_partition_whose_maker_gave_up_is_made_by_the_next(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as conn:
        ensure_partition(conn, NOW)
        raise RuntimeError
    with transaction(engine) as conn:
        write_predictions(conn, made.batch(made.plant(conn), 5), NOW)
        assert partitions(conn) == ["prediction_2026_11", "prediction_2026_12"]


def test_a_partition_has_the_indexes_and_checks_of_the_table(conn: Connection) -> None:
    ensure_partition(conn, NOW, ahead=0)
    for query in (
        "SELECT count(*) FROM pg_index WHERE indrelid = CAST(:t AS regclass)",
        "SELECT count(*) FROM pg_constraint WHERE conrelid = CAST(:t AS regclass)",
    ):
        counts = {conn.execute(text(query), {"t": t}).scalar_one() for t in ("prediction", "prediction_2026_11")}
        assert len(counts) == 1
        assert counts.pop() >= 3


def test_every_id_is_found_under_its_hour_once(conn: Connection) -> None:
    plant = made.plant(conn)
    write_predictions(conn, made.batch(plant, 10_000), NOW)
    write_predictions(conn, made.batch(plant, 10), NOW + timedelta(minutes=29))
    write_predictions(conn, made.batch(plant, 4096), NOW)
    write_predictions(conn, made.batch(plant, 10), NOW + timedelta(minutes=30))
    missing = conn.execute(
        text(
            "SELECT count(*) FROM prediction p WHERE NOT EXISTS (SELECT FROM prediction_hour h"
            " WHERE h.hour = date_trunc('hour', p.predicted_at, 'UTC') AND h.bucket = p.id >> 12)"
        )
    ).scalar_one()
    assert missing == 0
    hours = conn.execute(text("SELECT hour, bucket FROM prediction_hour ORDER BY 1, 2")).all()
    assert [(hour.hour, bucket) for hour, bucket in hours] == [(5, 0), (5, 1), (5, 2), (5, 3), (6, 3)]
