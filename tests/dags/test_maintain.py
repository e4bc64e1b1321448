"""What is removed for its age, what never is, and that it may be killed and done again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from appliance import intake, maintain, pruning
from appliance.airflow import config, secrets
from appliance.errors import ApplianceError, Conflict
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import accounts, journal, ledger, principals, retention
from appliance.store.engine import transaction
from appliance.store.writer import ensure_partition, partition_of, write_predictions
from tests.dags.conftest import ROOT, environment_of
from tests.unit.store import made

NOW = datetime.now(UTC)


@pytest.fixture
def box(tmp_path: Path, dsn: str, engine: Engine) -> Box:
    return Box(Settings(data_dir=tmp_path / "data", dsn=dsn), engine)


def rows(box: Box, query: str, **values: Any) -> list[dict[str, Any]]:
    with transaction(box.engine) as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def one(box: Box, query: str) -> Any:
    with transaction(box.engine) as connection:
        return connection.execute(text(query)).scalar_one()


def broken_promises(box: Box) -> list[str]:
    with transaction(box.engine) as connection:
        return [violation.sentence for violation in accounts.violations(connection)]


# Predictions


def predicted_at(connection: Connection, of: made.Plant, part_id: int, when: datetime, marked: datetime) -> None:
    """Predict a part as if it were then; ``marked``: when its mark says that it was predicted."""
    part = ledger.lock_part(connection, part_id)
    rows = made.np.arange(part.start + 1, part.start + part.rows + 1, dtype=made.np.int32)
    first, _ = write_predictions(connection, made.batch(of, part.rows, file_id=part.file_id, rows=rows), when)
    ledger.part_predicted(connection, part_id, part.rows, 0, of.model_id, first, first + part.rows - 1)
    connection.execute(text("UPDATE part SET predicted_at = :at WHERE id = :id"), {"at": marked, "id": part_id})
    for table, column in (("file", "id"), ("arrival", "file_id")):
        connection.execute(
            text(f"UPDATE {table} SET arrived_at = least(arrived_at, :at) WHERE {column} = :id"),
            {"at": when, "id": part.file_id},
        )


def months_ago(months: int) -> datetime:
    month = NOW.replace(day=15, hour=12, minute=0, second=0, microsecond=0)
    for _ in range(months):
        month = (month.replace(day=1) - timedelta(days=1)).replace(day=15)
    return month


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5).map(lambda ages: sorted(ages, reverse=True)),
    st.integers(1, 200),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
def test_only_whole_months_go_and_the_accounts_stay(box: Box, ages: list[int], days: int) -> None:
    box.engine.dispose()  # what it knows of partitions is of the example before
    with transaction(box.engine) as connection:
        connection.execute(
            text("TRUNCATE event, notice, prediction, prediction_hour, part, quality_issue, file, arrival, run CASCADE")
        )
        for month in retention.months(connection):
            connection.execute(text(f"DROP TABLE {month.name}"))
        plant = made.plant(connection)
        for age in ages:
            arrival = made.ingested(connection, plant.profile_id, [4, 3])
            for part in ledger.waiting_parts(connection, 10):
                if part.file_id == arrival.file_id:
                    when = months_ago(age)
                    predicted_at(connection, plant, part.id, when, when + timedelta(seconds=1))
    assert broken_promises(box) == []
    before = one(box, "SELECT count(*) FROM prediction")
    settings = box.settings.model_copy(update={"prediction_days": days})
    done = maintain.remove_old_predictions(Box(settings, box.engine))

    def ended(month: datetime) -> datetime:
        return (month.replace(day=1, hour=0) + timedelta(days=31)).replace(day=1)

    gone = [age for age in ages if ended(months_ago(age)) <= NOW - timedelta(days=days)]
    assert {f"{months_ago(age):%Y-%m}" for age in gone} <= set(done["months"])
    assert not {f"{months_ago(age):%Y-%m}" for age in set(ages) - set(gone)} & set(done["months"])
    assert one(box, "SELECT count(*) FROM prediction") == before - 7 * len(gone)
    assert one(box, "SELECT count(*) FROM prediction WHERE predicted_at < now() - interval '600 days'") == 0
    assert broken_promises(box) == []
    assert one(box, "SELECT count(*) FROM prediction_hour") == (
        0 if len(gone) == len(ages) else len(set(ages) - set(gone))
    )
    counted = rows(box, "SELECT sum(rows) AS rows FROM part WHERE state = 'predicted'")
    assert counted == [{"rows": 7 * len(ages)}]
    assert maintain.remove_old_predictions(Box(settings, box.engine))["months"] == []
    # What goes amiss is still seen: in a month that is kept, and not to be excused by the ones that went.
    if len(gone) < len(ages):
        rows(box, "DELETE FROM prediction WHERE id = (SELECT max(id) FROM prediction) RETURNING id")
        assert broken_promises(box) != []


@pytest.fixture
def old(box: Box) -> Box:
    """A file of which the first part was predicted in the last second of a month long ago, and marked in the next."""
    with transaction(box.engine) as connection:
        plant = made.plant(connection)
        made.ingested(connection, plant.profile_id, [4, 3])
        turn = months_ago(30).replace(day=1, hour=0)
        first, second = (part.id for part in ledger.waiting_parts(connection, 10))
        predicted_at(connection, plant, first, turn - timedelta(seconds=1), turn + timedelta(seconds=2))
        predicted_at(connection, plant, second, turn + timedelta(seconds=3), turn + timedelta(seconds=4))
    return box


def test_a_part_at_the_turn_of_a_month_goes_with_its_rows(old: Box) -> None:
    with transaction(old.engine) as connection:
        months = retention.months(connection)
        retention.drop_month(connection, months[0])
    assert one(old, "SELECT count(*) FROM prediction") == 3
    assert broken_promises(old) == []
    rows(old, "DELETE FROM prediction WHERE row = 5 RETURNING id")
    assert len(broken_promises(old)) == 2


def test_a_month_that_was_lost_and_not_removed_is_a_broken_promise(old: Box) -> None:
    with transaction(old.engine) as connection:
        connection.execute(text(f"DROP TABLE {retention.months(connection)[0].name}"))
    assert broken_promises(old) != []


def test_next_months_partition_is_made_ahead(box: Box) -> None:
    assert maintain.remove_old_predictions(box)["months"] == []
    following = (NOW.replace(day=1) + timedelta(days=31)).replace(day=1)
    with transaction(box.engine) as connection:
        names = [month.name for month in retention.months(connection)]
    assert names == [partition_of(NOW), partition_of(following)]
    # It is the turn of a month, and the partition of this one is there already.
    with transaction(box.engine) as connection:
        connection.execute(text(f"DROP TABLE {partition_of(following)}"))
    box.engine.dispose()  # another process made it: nobody has seen it here
    maintain.remove_old_predictions(box)
    with transaction(box.engine) as connection:
        assert [month.name for month in retention.months(connection)] == names
        assert all(
            month.start < month.end and month.start.day == month.end.day == 1 for month in retention.months(connection)
        )


def test_readers_hold_a_month_only_for_a_while(old: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(retention, "_LOCK_WAIT", "50ms")
    with transaction(old.engine) as reader:
        reader.execute(text("SELECT count(*) FROM prediction"))

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                reader.rollback()

        monkeypatch.setattr(time, "sleep", nap)
        assert len(maintain.remove_old_predictions(old)["months"]) == 2
    assert len(naps) == 3
    with transaction(old.engine) as reader:
        with transaction(old.engine) as connection:
            ensure_partition(connection, months_ago(40))
        reader.execute(text("SELECT count(*) FROM prediction"))
        monkeypatch.setattr(time, "sleep", naps.append)
        with pytest.raises(Conflict):
            maintain.remove_old_predictions(old)
    assert one(old, "SELECT count(*) FROM run WHERE outcome = 'failed'") == 1
    assert maintain.remove_old_predictions(old)["months"] != []


# Records

# In the order in which they came: what has a higher number is younger, whatever its date says.
AGES = st.lists(st.integers(0, 500), max_size=6).map(lambda ages: sorted(ages, reverse=True))


def aged(connection: Connection, table: str, column: str, row: Any, days: float) -> None:
    connection.execute(
        text(f"UPDATE {table} SET {column} = clock_timestamp() - make_interval(secs => :s) WHERE id = :id"),
        {"s": days * 86_400, "id": row},
    )


@given(AGES, AGES, AGES, st.integers(1, 400), st.integers(1, 400))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
def test_records_go_with_their_age_and_no_sooner(
    box: Box, runs: list[int], events: list[int], arrivals: list[int], run_days: int, record_days: int
) -> None:
    with transaction(box.engine) as connection:
        connection.execute(
            text("TRUNCATE event, notice, part, quality_issue, file, arrival, run, metric, prediction CASCADE")
        )
        plant = made.plant(connection)
        for days in runs:
            run = journal.run_skipped(connection, "ingest", "x")
            aged(connection, "run", "started_at", run, days)
            aged(connection, "run", "finished_at", run, days)
            connection.execute(text("INSERT INTO metric (name, value) VALUES ('x', 1)"))
            aged(connection, "metric", "at", one_of(connection, "SELECT max(id) FROM metric"), days)
        for days in events:
            event = journal.event(connection, "x", "error", "x")
            aged(connection, "event", "at", event, days)
            connection.execute(
                text(
                    "UPDATE notice SET settled_at = clock_timestamp() - make_interval(secs => :s)"
                    " WHERE kind = 'event' AND ref_id = :id"
                ),
                {"s": days * 86_400, "id": event},
            )
        file = made.ingested(connection, plant.profile_id, [5], content="c")
        aged(connection, "arrival", "cleared_at", file.id, 5000)
        aged(connection, "arrival", "arrived_at", file.id, 5000)
        for number, days in enumerate(arrivals):
            arrival = made.claimed(connection, plant.profile_id, content="c")
            if number % 2:
                ledger.finish_duplicate(connection, arrival, file.file_id)
                ledger.cleared(connection, arrival.id)
            else:
                ledger.abandoned(connection, arrival, "gone")
            aged(connection, "arrival", "cleared_at", arrival.id, days)
    settings = box.settings.model_copy(update={"run_days": run_days, "record_days": record_days})
    counts = maintain.forget_old_records(Box(settings, box.engine))

    def young(ages: list[int], limit: int) -> int:
        return sum(age < limit for age in ages)

    # The newest run of a kind always stays.
    newest_is_old = bool(runs) and runs[-1] >= run_days
    assert one(box, "SELECT count(*) FROM run WHERE kind = 'ingest'") == young(runs, run_days) + newest_is_old
    assert one(box, "SELECT count(*) FROM metric") == young(runs, run_days)
    assert one(box, "SELECT count(*) FROM event") == young(events, record_days)
    assert one(box, "SELECT count(*) FROM notice") == young(events, record_days)
    assert one(box, "SELECT count(*) FROM arrival") == 1 + young(arrivals, record_days)
    assert one(box, "SELECT count(*) FROM part") == 1
    assert counts["arrivals"] == len(arrivals) - young(arrivals, record_days)
    assert broken_promises(box) == []


def one_of(connection: Connection, query: str) -> Any:
    return connection.execute(text(query)).scalar_one()


def test_what_somebody_is_still_to_be_told_of_is_not_forgotten(box: Box) -> None:
    with transaction(box.engine) as connection:
        event = journal.event(connection, "x", "error", "nobody was reached")
        aged(connection, "event", "at", event, 5000)
    maintain.forget_old_records(box)
    assert one(box, "SELECT count(*) FROM event") == 1
    rows(box, "UPDATE notice SET settled_at = clock_timestamp() RETURNING id")
    maintain.forget_old_records(box)
    assert one(box, "SELECT count(*) FROM event") == 0


def test_what_later_events_are_judged_by_is_not_forgotten(old: Box) -> None:
    maintain.remove_old_predictions(old)
    with transaction(old.engine) as connection:
        for kind in ("run_recovered", "run_failed", "run_recovered"):
            journal.event(connection, kind, "info", "x", {"run": "ingest", "step": ""})
        journal.event(connection, "run_failed", "info", "x", {"run": "predict", "step": ""})
        connection.execute(text("UPDATE event SET at = at - interval '10 years'"))
    maintain.forget_old_records(old)
    left = rows(old, "SELECT kind, details ->> 'run' AS run FROM event ORDER BY id")
    assert left == [
        {"kind": "predictions_removed", "run": None},
        {"kind": "run_failed", "run": "ingest"},
        {"kind": "run_recovered", "run": "ingest"},
        {"kind": "run_failed", "run": "predict"},
    ]
    assert broken_promises(old) == []


def test_more_than_a_piece_goes_in_pieces(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PIECE", 10)
    with transaction(box.engine) as connection:
        connection.execute(
            text("INSERT INTO metric (at, name, value) SELECT '2020-01-01', 'x', 1 FROM generate_series(1, 35)")
        )
    assert maintain.forget_old_records(box)["metrics"] == 35


def test_answers_to_repeated_requests_are_kept_for_a_week(box: Box) -> None:
    with transaction(box.engine) as connection:
        for key, days in (("old", 8), ("young", 6)):
            principals.recall(connection, "me", key, made.digest(key))
            values = {"key": key, "s": days * 86_400}
            connection.execute(
                text("UPDATE request SET created_at = clock_timestamp() - make_interval(secs => :s) WHERE key = :key"),
                values,
            )
    assert maintain.forget_old_records(box)["requests"] == 1
    assert rows(box, "SELECT key FROM request") == [{"key": "young"}]


# Files


def put(path: Path, days_ago: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    moment = time.time() - days_ago * 86_400
    os.utime(path, (moment, moment))
    return path


def dated(root: Path, day: date, name: str = "a.csv.1") -> Path:
    return root / "profile=milling" / f"date={day.isoformat()}" / name


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(0, 60))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_originals_go_with_their_day(
    tmp_path_factory: pytest.TempPathFactory, dsn: str, engine: Engine, ages: list[int], days: int
) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), dsn=dsn, archive_days=days)
    today = datetime.now(UTC).date()
    files = {age: put(dated(settings.archive, today - timedelta(days=age))) for age in ages}
    kept = [put(settings.archive / "profile=milling" / "date=unknown" / "x"), put(settings.archive / "by-hand.csv")]
    kept += [put(dated(root, today - timedelta(days=99))) for root in (settings.good, settings.bad)]
    done = maintain.remove_old_files(Box(settings, engine))
    old = {age for age in ages if age > days}
    assert {age for age, path in files.items() if not path.exists()} == old
    assert not any(files[age].parent.exists() for age in old)
    assert all(path.exists() for path in kept)
    assert (done["files"], done["bytes"]) == (len(old), 5 * len(old))


def test_empty_folders_of_past_days_go_and_those_of_today_stay(box: Box) -> None:
    settings, today = box.settings, datetime.now(UTC).date()
    roots = (settings.archive, settings.good, settings.bad, settings.bad / "quarantine")
    old = [dated(root, today - timedelta(days=3)).parent for root in roots]
    new = [dated(root, today).parent for root in roots]
    for folder in (*old, *new):
        folder.mkdir(parents=True)
    full = put(dated(settings.good, today - timedelta(days=4), "7.parquet"))
    assert maintain.remove_old_files(box)["folders"] == 4
    assert not any(folder.exists() for folder in old)
    assert all(folder.exists() for folder in new)
    assert full.exists()


def test_links_are_never_followed(box: Box, tmp_path: Path) -> None:
    secret = put(tmp_path / "elsewhere" / "profile=milling" / "date=2021-01-01" / "secret", 999)
    settings = box.settings
    (settings.archive / "profile=milling").mkdir(parents=True)
    (settings.archive / "profile=milling" / "date=2021-01-01").symlink_to(secret.parent)
    (settings.archive / "profile=pump").symlink_to(tmp_path / "elsewhere" / "profile=milling")
    dated(settings.archive, date(2022, 1, 1)).parent.mkdir()
    dated(settings.archive, date(2022, 1, 1)).symlink_to(secret)
    assert maintain.remove_old_files(box)["files"] == 1
    assert secret.exists()
    removed = pruning.Removed()
    pruning.older_than(settings.archive, time.time(), removed)
    assert secret.exists()


def test_litter_of_the_work_folder_goes_when_nobody_can_know_it_any_more(box: Box) -> None:
    work = box.settings.work
    litter, fresh = put(work / "claim-old"), put(work / "claim-new")
    folder = put(work / "good-old" / "0.parquet").parent
    removed = pruning.Removed()
    pruning.entries_older_than(work, time.time() + 10, removed)
    assert not any(path.exists() for path in (litter, fresh, folder))
    put(work / "claim-new")
    put(work / ".pass")
    # What changed just now is not old, whatever its time of writing says.
    put(work / "claim-old", 99)
    maintain.remove_old_files(box)
    assert sorted(p.name for p in work.iterdir() if p.suffix != ".maintain") == [
        ".maintain",
        ".pass",
        "claim-new",
        "claim-old",
    ]


def test_beside_a_running_pass_only_old_originals_go(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintain, "_PASS_WAIT_SECONDS", 0.0)
    today = datetime.now(UTC).date()
    old = put(dated(box.settings.archive, today - timedelta(days=99)))
    empty = dated(box.settings.good, today - timedelta(days=99)).parent
    empty.mkdir(parents=True)
    with intake.exclusive(box.settings.work):
        assert "left" in maintain.remove_old_files(box)
    assert (old.exists(), empty.exists()) == (False, True)
    assert maintain.remove_old_files(box)["folders"] == 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8), st.integers(1, 30))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_logs_go_with_their_age_and_folders_when_they_are_empty(
    tmp_path_factory: pytest.TempPathFactory, dsn: str, engine: Engine, logs: list[tuple[int, int]], days: int
) -> None:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"), dsn=dsn, log_days=days)
    folder = settings.airflow / "logs"
    files = {}
    for number, (day, age) in enumerate(logs):
        files[put(folder / "ingest" / f"day-{day}" / f"{number}.log", age + 0.5)] = age
    for path in folder.rglob("day-*"):
        moment = time.time() - 3 * 86_400
        os.utime(path, (moment, moment))
    done = maintain.rotate_logs(Box(settings, engine))
    assert {age for path, age in files.items() if path.exists()} == {age for age in files.values() if age < days}
    assert done["files"] == sum(age >= days for age in files.values())
    assert all(any(day.iterdir()) for day in folder.rglob("day-*"))
    assert folder.exists() == bool(logs)


def test_a_folder_of_today_that_is_empty_still_is_left(box: Box) -> None:
    folder = box.settings.airflow / "logs" / "ingest" / "2026-01-01"
    folder.mkdir(parents=True)
    maintain.rotate_logs(box)
    assert folder.exists()


# All of it


KILLED = """
import os, signal, sys
from pathlib import Path
from appliance import maintain, pipeline, pruning, settings
from appliance.store import retention
count = 0
def die(original):
    def call(*arguments):
        global count
        count += 1
        if count > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)
    return call
pruning._remove = die(pruning._remove)
retention.forget = die(retention.forget)
retention.drop_month = die(retention.drop_month)
getattr(maintain, sys.argv[1])(pipeline.open_box(settings.load()))
"""


@pytest.mark.parametrize("step", ["remove_old_predictions", "forget_old_records", "remove_old_files"])
def test_a_step_that_was_killed_is_done_again(old: Box, step: str) -> None:
    today = datetime.now(UTC).date()
    for age in (40, 50, 60):
        put(dated(old.settings.archive, today - timedelta(days=age)))
    with transaction(old.engine) as connection:
        connection.execute(
            text("INSERT INTO metric (at, name, value) SELECT '2020-01-01', 'x', 1 FROM generate_series(1, 5)")
        )
    command = [sys.executable, "-c", KILLED, step, "1"]
    environment = environment_of(old.settings, old.settings)
    assert subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode == -9
    assert broken_promises(old) == []
    getattr(maintain, step)(old)
    assert broken_promises(old) == []
    runs = rows(old, "SELECT outcome, counts ->> 'step' AS step FROM run ORDER BY id")
    assert runs == [{"outcome": "failed", "step": step}, {"outcome": "done", "step": step}]
    match step:
        case "remove_old_predictions":
            assert one(old, "SELECT count(*) FROM prediction") == 0
        case "forget_old_records":
            assert one(old, "SELECT count(*) FROM metric") == 0
        case _:
            assert not [path for path in old.settings.archive.rglob("*") if path.is_file()]


def test_a_step_that_fails_keeps_none_of_the_others(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    put(dated(box.settings.archive, date(2021, 1, 1)))

    def fail(*_: object) -> None:
        raise ApplianceError("It does not work.", "Mend it.")

    monkeypatch.setattr(retention, "make_ahead", fail)
    done = list(maintain.everything(box))
    assert [(name, error is None) for name, _, error in done] == [
        ("remove_old_predictions", False),
        ("forget_old_records", True),
        ("remove_old_files", True),
    ]
    assert done[2][1]["files"] == 1
    told = rows(box, "SELECT kind, message FROM event")
    assert told == [
        {"kind": "run_failed", "message": "Maintenance (remove_old_predictions) fails: It does not work. Mend it."}
    ]


@pytest.mark.parametrize("schedule", ["other", "airflow"])
def test_the_command_tells_each_step(box: Box, schedule: str) -> None:
    """Airflow's own steps are done where it runs the schedule, and say what is missing where it was never set up."""
    environment = {**os.environ, **environment_of(box.settings, box.settings), "APPLIANCE_SCHEDULE": schedule}
    command = [sys.executable, "-m", "appliance", "maintain", "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    steps = {step["step"]: step for step in json.loads(done.stdout)["steps"]}
    assert list(steps)[:3] == ["remove_old_predictions", "forget_old_records", "remove_old_files"]
    assert (len(steps), done.returncode) == ((3, 0) if schedule == "other" else (5, 1))
    if schedule == "airflow":
        assert "airflow init" in steps["clean_airflow"]["error"]
        assert "error" not in steps["rotate_logs"]


@pytest.fixture
def airflow(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Box]:
    """A box whose Airflow is a shell script, which is told how it was called by ``called``."""
    settings = Settings(**(box.settings.model_dump() | {"schedule": "airflow"}))
    secrets.make(settings)
    program = tmp_path / "python"

    def be(script: str) -> Box:
        program.write_text(f'#!/bin/sh\nenv > {tmp_path}/env\necho "$@" > {tmp_path}/words\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return Box(settings, box.engine)

    return be


def test_a_task_that_is_denied_airflows_database_can_have_it_cleaned(
    airflow: Callable[[str], Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for section in ("DATABASE", "CORE"):
        monkeypatch.setenv(f"AIRFLOW__{section}__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    monkeypatch.setenv("__AIRFLOW_SUPERVISOR_FD", "7")
    box = airflow("exit 0")
    maintain.clean_airflow(box)
    told = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert told["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == config.dsn(box.settings)
    assert "not-allowed" not in str(told)
    assert not {"_AIRFLOW_PROCESS_CONTEXT", "__AIRFLOW_SUPERVISOR_FD"} & set(told)
    words = (tmp_path / "words").read_text().split()
    before = datetime.fromisoformat(words[words.index("--clean-before-timestamp") + 1])
    assert abs(datetime.now(UTC) - timedelta(days=box.settings.run_days) - before) < timedelta(minutes=5)
    assert {"--skip-archive", "--yes", "--error-on-cleanup-failure"} < set(words)


def test_what_airflow_cannot_do_is_told_in_a_sentence(
    airflow: Callable[[str], Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ApplianceError, match=r"could not be cleaned \(OperationalError: no server\)"):
        maintain.clean_airflow(airflow("echo Traceback >&2; echo 'OperationalError: no server' >&2; exit 1"))
    monkeypatch.setattr(maintain, "_AIRFLOW_SECONDS", 0.1)
    with pytest.raises(ApplianceError, match="was not cleaned within"):
        maintain.clean_airflow(airflow("exec sleep 60"))


# Clocks


def leap(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    monkeypatch.setattr(retention, "now_of", lambda connection: datetime.now(UTC) + timedelta(days=days), raising=True)


def came(box: Box, plant: made.Plant, days_ago: float) -> Path:
    """A file that came and was predicted when the clock said so; its original in the archive."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    with transaction(box.engine) as connection:
        arrival = made.ingested(connection, plant.profile_id, [4])
        (part,) = (part for part in ledger.waiting_parts(connection, 10) if part.file_id == arrival.file_id)
        predicted_at(connection, plant, part.id, at, at)
        connection.execute(
            text("UPDATE arrival SET arrived_at = :at, day = :day WHERE id = :id"),
            {"at": at, "day": at.date(), "id": arrival.id},
        )
        connection.execute(text("INSERT INTO metric (at, name, value) VALUES (:at, 'x', 1)"), {"at": at})
        journal.event(connection, "x", "info", f"event {arrival.id}")
        connection.execute(text("UPDATE event SET at = :at WHERE message = :m"), {"at": at, "m": f"event {arrival.id}"})
    return put(dated(box.settings.archive, at.date(), f"a.csv.{arrival.id}"))


def a_night(box: Box) -> None:
    for step in maintain.STEPS:
        step(box)


def kept(box: Box) -> tuple[int, int, int]:
    """Predictions, figures and events that there are."""
    return tuple(  # type: ignore[return-value]
        one(box, f"SELECT count(*) FROM {what}") for what in ("prediction", "metric", "event WHERE kind = 'x'")
    )


@pytest.mark.parametrize("days", [3652, -3652])
def test_nothing_goes_because_the_clock_leapt(box: Box, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    with transaction(box.engine) as connection:
        plant = made.plant(connection)
    originals = [came(box, plant, days_ago) for days_ago in (20, 2, 0)]
    a_night(box)
    leap(monkeypatch, days)
    a_night(box)
    assert all(path.exists() for path in originals)
    assert kept(box) == (12, 3, 3)
    monkeypatch.undo()
    a_night(box)
    assert all(path.exists() for path in originals)
    assert kept(box) == (12, 3, 3)
    assert broken_promises(box) == []


def test_a_box_that_was_off_for_long_catches_up_within_some_nights(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction(box.engine) as connection:
        plant = made.plant(connection)
    original = came(box, plant, 10)
    a_night(box)
    leap(monkeypatch, 365)
    nights = 0
    while original.exists():
        a_night(box)
        nights += 1
    assert nights == 3, "three weeks are missing of the thirty days"


@pytest.mark.parametrize("behind", [3652, 700])
def test_what_came_while_the_clock_was_behind_is_as_young_as_it_is(box: Box, behind: int) -> None:
    with transaction(box.engine) as connection:
        plant = made.plant(connection)
    old, first, misdated, last = (came(box, plant, days_ago) for days_ago in (600, 5, behind, 0))
    settings = box.settings.model_copy(update={"prediction_days": 400})
    a_night(Box(settings, box.engine))
    assert not old.exists()
    assert first.exists()
    assert misdated.exists()
    assert last.exists()
    assert kept(box) == (12, 3, 3)
    assert broken_promises(box) == []


def test_a_box_that_began_with_an_empty_battery_loses_nothing_when_the_clock_is_set(box: Box) -> None:
    with transaction(box.engine) as connection:
        plant = made.plant(connection)
    originals = [came(box, plant, days_ago) for days_ago in (20_000, 19_999, 2, 0)]
    a_night(box)
    assert all(path.exists() for path in originals)
    assert one(box, "SELECT count(*) FROM prediction") == 16
