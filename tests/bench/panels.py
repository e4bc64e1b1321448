"""``python -m tests.bench.panels``: how long dashboards take on a database that a box fills in a month.

Rows are made and not predicted: what is timed is the database, asked as Grafana asks it, by the role that only reads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from appliance import drift as pure
from appliance.store import drift, embedded, models, report, writer
from appliance.store import engine as engines
from appliance.store.engine import transaction
from appliance.store.migrations import migrate
from appliance.store.rows import Batch, Source
from grafana import alerts, files
from tests import profiles, small_models
from tests.bench import machine
from tests.bench.patience import say
from tests.grafana.expand import expand

ROWS = 10_000_000
DAYS = 30
MACHINES = 24
FILE_ROWS = 1_000
# What comes over HTTP beside the files, and what people ask for at a screen in an hour.
API_SHARE = 0.02
WEBAPP_ROWS = 10
ASKED = 20
GOAL_MS = 300


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.panels", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"predictions ({ROWS:,})")
    parser.add_argument("--asked", type=int, default=ASKED, help=f"times that each statement is sent ({ASKED})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="appliance-panels-"))
    folder.chmod(0o755)
    try:
        server = embedded.start(folder / "database")
        try:
            found = measure(server.dsn, options.rows, options.asked)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=2) if options.json else as_text(found))
    return 0


def measure(dsn: str, rows: int, asked: int) -> dict[str, Any]:
    migrate(dsn)
    engine = engines.connect(dsn, "bench")
    now = datetime.now(UTC)
    fill(engine, now, rows)
    session = psycopg2.connect(dsn)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(report.reader_sql())
        say("what the database does by itself in a quiet hour: vacuum and analyze")
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("SELECT pg_database_size(current_database())")
        [size] = cursor.fetchone() or (0,)
    session.close()
    others = machine.Others()
    times = dict(ask(dsn, now, asked))
    engine.dispose()
    return {
        "rows": rows,
        "asked": asked,
        "database_bytes": size,
        "statements": times,
        "others": others.share(),
        "machine": machine.facts(),
        "date": f"{now:%Y-%m-%d}",
    }


def fill(engine: engines.Engine, now: datetime, rows: int) -> None:
    """A month of predictions, and what else a box keeps meanwhile."""
    model_id, ids, names = predicted(engine, now, rows)
    with transaction(engine) as conn:
        _rest(conn, np.random.default_rng(2), now, model_id, ids, names)


def predicted(engine: engines.Engine, now: datetime, rows: int) -> tuple[int, Sequence[int], Sequence[str]]:
    """A month of predictions, spread evenly, in files of a thousand rows; gives model, machines and features.

    Nearly all come from files, some over the API, few from screens; the last machine is silent since the first day.
    """
    rng = np.random.default_rng(1)
    card = json.loads(small_models.files("milling")["card.json"])
    profile = profiles.load("milling")
    names = profile.matrix_names
    with transaction(engine) as conn:
        profile_id = models.ensure_profile(conn, profile)
        modes = [mode.name for mode in profile.modes]
        model_id = models.ensure_model(conn, profile_id, "v1", card, True, features=names, modes=modes)
        ids = list(models.ensure_machines(conn, profile_id, [f"mill-{n:02}" for n in range(MACHINES)]).values())
    per_day = rows // DAYS
    for day in reversed(range(DAYS)):
        say(f"day {DAYS - day} of {DAYS}")
        active = ids if day == DAYS - 1 else ids[:-1]
        # The last one ends now, so that a day's panels look at a day's rows.
        for hour in range(24):
            when = now - timedelta(days=day, hours=23 - hour, minutes=1)
            with transaction(engine) as conn:
                _hour(conn, rng, when, per_day // 24, profile_id, model_id, active, (len(names), len(modes)))
    return model_id, ids, names


def _hour(
    conn: Connection,
    rng: np.random.Generator,
    when: datetime,
    rows: int,
    profile_id: int,
    model_id: int,
    ids: Sequence[int],
    shape: tuple[int, int],
) -> None:
    def write(source: Source, count: int, file_id: int | None = None) -> int:
        probability = rng.beta(0.2, 4, count).astype(np.float32)
        batch = Batch(
            profile_id=profile_id,
            model_id=model_id,
            source=source,
            file_id=file_id,
            machine_ids=rng.choice(np.array(ids, dtype=np.int32), count),
            read_at=np.full(count, when.replace(tzinfo=None), dtype="datetime64[us]"),
            rows=None,
            probability=probability,
            failing=probability >= 0.3,
            flags=np.where(rng.random(count) < 0.01, 2, 0).astype(np.int16),
            features=rng.normal(size=(count, shape[0])).astype(np.float32),
            modes=rng.random((count, shape[1])).astype(np.float32),
        )
        first, _ = writer.write_predictions(conn, batch, when)
        return first

    over_http = int(rows * API_SHARE)
    of_files = max(rows - over_http - WEBAPP_ROWS, 1)
    in_files = [FILE_ROWS] * (of_files // FILE_ROWS) + ([of_files % FILE_ROWS] if of_files % FILE_ROWS else [])
    taken = conn.execute(
        text(
            "WITH came AS (INSERT INTO arrival (profile_id, origin, name, path, size, mtime_ns, device, inode, sha256,"
            " contract_hash, claim, arrived_at, day, state, cleared_at) SELECT :profile, 'mill-' || lpad((n % 24)::text, 2, '0'),"
            " n || '.csv', '/raw/' || n, 1000, 1, 1, n, repeat('0', 64), repeat('0', 64), repeat('0', 64), :at,"
            " CAST(:at AS timestamptz)::date, 'ingested', :at FROM unnest(CAST(:rows AS integer[])) WITH ORDINALITY AS"
            " f (rows, n) RETURNING *),"
            " taken AS (INSERT INTO file (id, arrival_id, profile_id, origin, name, sha256, contract_hash, arrived_at, day, state,"
            " criticality, rows_in, rows_good, rows_bad, good_path, bad_path, ingested_at, predicted_at)"
            " SELECT file_id, id, profile_id, origin, name, encode(sha256(int8send(file_id)), 'hex'), contract_hash, arrived_at,"
            " day, 'predicted', 'low', f.rows + 10, f.rows, 10, 'g', 'b', arrived_at + interval '20 s',"
            " arrived_at + interval '90 s' FROM came JOIN unnest(CAST(:rows AS integer[])) WITH ORDINALITY AS f (rows, n)"
            " ON came.name = f.n || '.csv' RETURNING *),"
            " broken AS (INSERT INTO quality_issue (file_id, rule, column_name, count) SELECT id, rule, 'torque', 5 FROM taken"
            " CROSS JOIN (VALUES ('range'), ('null')) AS r (rule))"
            " SELECT id, rows_good FROM taken ORDER BY id"
        ),
        {"profile": profile_id, "at": when, "rows": in_files},
    ).all()
    parts = [
        {"file": file_id, "rows": count, "model": model_id, "at": when, "first": write("scheduled", count, file_id)}
        for file_id, count in taken
    ]
    for source, count in (("api", over_http), ("webapp", min(WEBAPP_ROWS, rows))):
        if count:
            write(source, count)
    conn.execute(
        text(
            "INSERT INTO part (file_id, number, start, rows, state, model_id, failing, first_id, last_id, predicted_at)"
            " VALUES (:file, 1, 0, :rows, 'predicted', :model, :rows / 25, CAST(:first AS bigint),"
            " CAST(:first AS bigint) + :rows - 1, CAST(:at AS timestamptz) + interval '90 s')"
        ),
        parts,
    )


def _rest(
    conn: Connection, rng: np.random.Generator, now: datetime, model_id: int, ids: Sequence[int], names: Sequence[str]
) -> None:
    say("drift, figures, passes, alarms")
    columns = [*names, pure.SCORE]
    bins = [pure.bins_of(name, rng.normal(size=1000).astype(np.float32), -5, 5) for name in columns]
    drift.keep_bins(conn, model_id, bins)
    n = len(ids)
    for day in range(DAYS):
        rows = rng.normal(0.1, 1, (n * 500, len(columns))).astype(np.float32)
        counts = pure.count(bins, rows, np.repeat(np.arange(n), 500), n)
        drift.add(conn, model_id, now - timedelta(days=day), sorted(ids), [500] * n, [5] * n, counts)
    figures = [
        "box_cpu_share",
        "box_load",
        "box_memory_share",
        "box_swap_bytes",
        "box_disk_bytes",
        "box_disk_free_bytes",
        "box_database_bytes",
        "box_faults",
        "box_warnings",
        "backlog_parts",
        "backlog_rows",
        "backlog_seconds",
        "backlog_failed",
        "api_memory_bytes",
        "api_requests",
        "api_errors",
        "api_seconds_p50",
        "api_seconds_p95",
        "api_seconds_most",
    ]
    minutes = DAYS * 24 * 60
    for statement in (
        "INSERT INTO metric (at, name, value) SELECT :now - make_interval(mins => m), name, random() * 1e9"
        " FROM generate_series(1, :minutes) AS m CROSS JOIN unnest(CAST(:figures AS text[])) AS name ORDER BY m DESC",
        "INSERT INTO run (kind, started_at, finished_at, outcome) SELECT CASE WHEN m % 3 = 0 THEN 'predict' ELSE 'ingest' END,"
        " :now - make_interval(mins => m), :now - make_interval(mins => m), CASE WHEN m % 50 = 0 THEN 'failed' ELSE 'skipped' END"
        " FROM generate_series(1, :minutes) AS m ORDER BY m DESC",
        "INSERT INTO alarm (machine_id, opened_at, last_seen_at, rows, probability, details, closed_at, close_reason)"
        " SELECT id, :now - make_interval(hours => h), :now - make_interval(hours => h), 5, 0.9,"
        ' \'{"title": "Overstrain", "text": "Strain 12,000, limit 11,000", "action": "Change the tool."}\', :now, \'calm\''
        " FROM machine CROSS JOIN generate_series(1, 700, 7) AS h",
        "INSERT INTO outcome (machine_id, alarm_id, happened_at, kind, who)"
        " SELECT machine_id, id, opened_at + interval '1 hour', CASE WHEN id % 4 = 0 THEN 'false_alarm' ELSE 'failure' END, 'x'"
        " FROM alarm WHERE id % 3 > 0",
        "INSERT INTO machine_state (machine_id, last_predicted_at, last_read_at, last_probability, last_failing)"
        " SELECT id, :now, :now, 0.1, false FROM machine",
    ):
        conn.execute(text(statement), {"now": now, "minutes": minutes, "figures": figures} if ":" in statement else {})


def ask(dsn: str, now: datetime, asked: int) -> Iterator[tuple[str, float]]:
    """(dashboard and panel, p95 in ms), the slowest first; each over the last 24 hours."""
    session = psycopg2.connect(make_url(dsn).set(username=report.READER).render_as_string(hide_password=False))
    session.autocommit = True
    found = {}
    for where, sql, values in _statements():
        statement = expand(sql, now - timedelta(hours=24), now, values, "1m")
        times = []
        with session.cursor() as cursor:
            for _ in range(asked):
                start = time.perf_counter()
                cursor.execute(statement)
                cursor.fetchall()
                times.append(1000 * (time.perf_counter() - start))
        found[where] = float(np.percentile(times, 95))
    session.close()
    yield from sorted(found.items(), key=lambda pair: -pair[1])


def _statements() -> Iterator[tuple[str, str, Mapping[str, str]]]:
    for one in files.DASHBOARDS:
        dashboard = one.as_json()
        listed = dashboard["templating"]["list"]
        everything = {variable["name"]: variable.get("allValue", variable.get("query", "")) for variable in listed}
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{one.title}: {panel['title']} {target['refId']}", target["rawSql"], everything
        for variable in listed:
            if variable["type"] == "query":
                yield f"{one.title}: variable {variable['name']}", variable["query"], everything
    for rule in alerts.RULES:
        yield f"Alert: {rule.title}", " ".join(rule.sql.split()), {}


def as_text(found: dict[str, Any]) -> str:
    slow = list(found["statements"].items())
    facts = found["machine"]
    lines = ["| statement, over 24 hours | p95 ms |", "| --- | ---: |"]
    lines += [f"| {where} | {ms:.0f} |" for where, ms in slow[:15]]
    kept = sum(ms <= GOAL_MS for _, ms in slow)
    lines.append(
        f"\n{found['rows']:,} predictions, a database of {found['database_bytes'] / 2**30:.1f} GiB; each of {len(slow)} statements"
        f" sent {found['asked']} times; {kept} of them within {GOAL_MS} ms. {found['date']}, {facts['cores']} cores of"
        f" {facts['cpu']}, of which the database and other programs took {found['others']:.0%}."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
