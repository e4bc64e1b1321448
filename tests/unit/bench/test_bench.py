"""The bench runs and its figures fit together; how large they are is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench import cli, page, steps
from tests.bench.stopwatch import REST, Stopwatch

ROWS = 2_000


def test_a_small_run_times_every_step_and_sums_up(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "PAGE", tmp_path / "performance.md")
    assert cli.main(["--rows", str(ROWS), "--repeats", "1", "--models", str(shelf), "--json", "--write"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == ROWS
    assert set(found["ways"]) == {"stepped", "direct", "api"}
    wanted = {steps.COPY_IN, steps.READ, steps.CHECK, steps.GOOD, steps.LEDGER, steps.REMOVE}
    wanted |= {steps.READ_PART, steps.FEATURES, steps.SCORE, steps.STORE, steps.FOLLOW, steps.DRIFT, steps.COMMIT}
    taken = {row["step"]: row["seconds"] for row in found["steps"]}
    assert wanted <= {step for step, seconds in taken.items() if seconds > 0}
    for phase in ("ingest", "predict"):
        parts = [row["seconds"] for row in found["steps"] if row["phase"] == phase]
        assert sum(parts) == pytest.approx(found["ways"]["stepped"][phase], abs=0.001)
        assert next(r for r in found["steps"] if r["phase"] == phase and r["step"] == REST)["seconds"] >= 0
    assert all(row["library_seconds"] > 0 for row in found["steps"] if row["library"])
    written = (tmp_path / "performance.md").read_text()
    assert all(f"| {step} |" in written for step in wanted)
    assert f'`make bench ARGS="--rows {ROWS} --repeats 1"`' in written
    assert page.text(found).count("\n") > len(found["steps"])


def test_time_within_a_step_belongs_to_it_alone() -> None:
    moments = iter(range(100))
    watch = Stopwatch(lambda: float(next(moments)))

    class Work:
        def outer(self) -> int:
            return self.inner()

        def inner(self) -> int:
            return 7

        def __iter__(self):  # type: ignore[no-untyped-def]
            yield from (self.inner(), self.inner())

    places = [("outer", Work, "outer"), ("inner", Work, "inner"), ("items", Work, "__iter__")]
    with watch.around(places), watch.whole():
        assert Work().outer() == 7
        assert list(Work()) == [7, 7]
    # The database's clock moves one second a look: one in each step, and two between two steps.
    assert watch.steps["outer"].database == 1
    assert "inner" not in watch.steps
    assert watch.steps["items"].database == 4  # making it, two items, the end
    assert watch.steps[REST].database == 6
    assert Work.outer.__name__ == "outer"
    assert not hasattr(Work.outer, "__wrapped__")
