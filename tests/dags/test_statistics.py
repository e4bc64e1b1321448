"""The figures of a pass, and that its accounts add up."""

from __future__ import annotations

import pytest

from appliance import pipeline, tallies
from appliance.errors import NotFound
from tests.road.conftest import Road


def figures(road: Road) -> dict[tuple[str, str], float]:
    """By name and label."""
    found = road.rows("SELECT name, labels, value FROM metric ORDER BY id")
    return {(row["name"], "/".join(map(str, row["labels"].values()))): row["value"] for row in found}


def spoiled(data: bytes, rows: int) -> bytes:
    lines = data.decode().splitlines(keepends=True)
    for number in range(1, rows + 1):
        cells = lines[number].split(",")
        lines[number] = ",".join([*cells[:6], "512.0", *cells[7:]])
    return "".join(lines).encode()


def test_a_pass_is_told_in_figures(road: Road, mill: bytes) -> None:
    road.drop("milling", "good.csv", mill, "mill-1")
    road.drop("milling", "bad.csv", spoiled(mill, 100), "mill-2")
    road.drop("milling", "again.csv", mill, "mill-1")
    road.drop("milling", "empty.csv", b"", "mill-1")
    done = road.ingest()
    assert pipeline.record_statistics(road.box, done.run) == []
    found = figures(road)
    wanted = {
        ("ingest_rows_in", "milling"): 320,
        ("ingest_rows_good", "milling"): 220,
        ("ingest_rows_bad", "milling"): 100,
        ("ingest_quarantined", "milling"): 1,
        ("ingest_files", "milling/high"): 1,
        ("ingest_files", "milling/medium"): 0,
        ("ingest_files", "milling/low"): 1,
        ("ingest_duplicates", ""): 1,
        ("ingest_left", ""): 0,
        ("ingest_broken", ""): 0,
        ("rows_waiting", ""): 220,
        ("parts_waiting", ""): 4,
        ("parts_failed", ""): 0,
    }
    assert {key: found[key] for key in wanted} == wanted
    assert 0 <= found["ingest_delay_seconds", "milling"] <= found["ingest_seconds", ""] + 1
    assert road.rows("SELECT * FROM event") == []


def test_doing_it_again_changes_nothing(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    first = road.ingest()
    pipeline.record_statistics(road.box, first.run)
    before = figures(road)
    pipeline.record_statistics(road.box, first.run)
    assert figures(road) == before
    assert road.rows("SELECT count(*) AS n FROM metric") == [{"n": len(before)}]
    road.drop("milling", "b.csv", mill + b"\n", "mill-1")
    second = road.ingest()
    pipeline.record_statistics(road.box, second.run)
    moments = road.rows(
        "SELECT count(DISTINCT at) AS moments, sum(value) AS rows FROM metric WHERE name = 'ingest_rows_in'"
    )
    assert moments == [{"moments": 2, "rows": 320.0}]
    assert road.rows("SELECT count(*) AS n FROM metric m JOIN run r ON r.finished_at = m.at") == [
        {"n": 2 * len(before)}
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM part WHERE number = 1 RETURNING id", "a.csv has 160 rows, 160 of them good"),
        ("UPDATE run SET counts = counts || '{\"rows_good\": 159}' RETURNING id", "the pass counted 159 rows good"),
        ("UPDATE file SET rows_in = 161, rows_bad = 1, bad_path = 'x' RETURNING id", "the ledger has 161"),
    ],
)
def test_accounts_that_do_not_add_up_are_an_error_told_once(road: Road, mill: bytes, damage: str, said: str) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    done = road.ingest()
    road.rows(damage)
    for _ in range(2):
        wrong = pipeline.record_statistics(road.box, done.run)
        assert said in " ".join(wrong)
    [event] = road.rows("SELECT kind, severity, message FROM event")
    assert (event["kind"], event["severity"]) == ("accounting", "error")
    assert said in event["message"]
    assert figures(road)["ingest_rows_in", "milling"] > 0


def test_files_of_other_passes_do_not_count(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    road.rows("DELETE FROM part RETURNING id")
    road.drop("milling", "b.csv", mill + b"\n", "mill-1")
    assert pipeline.record_statistics(road.box, road.ingest().run) == []


@pytest.mark.parametrize("number", ["0", "(SELECT max(id) FROM run WHERE kind = 'predict')"])
def test_only_a_finished_pass_has_figures(road: Road, number: str) -> None:
    road.predict()
    [run] = road.rows(f"SELECT {number} AS id")
    with pytest.raises(NotFound):
        pipeline.record_statistics(road.box, run["id"])


def test_stretches_hold_each_number_once() -> None:
    assert tallies.stretches([]) == []
    assert tallies.stretches([5, 3, 4, 9, 3]) == [(3, 5), (9, 9)]
