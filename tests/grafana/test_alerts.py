"""Each alert with data that must fire it and data that must not; asked as Grafana does: the newest figure of each curve
against the bound."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
import yaml
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url

from appliance import drift as pure
from appliance.store import drift, ledger, models, outbox, report
from appliance.store.engine import transaction
from grafana import alerts, files
from grafana.alerts import Rule
from tests import profiles
from tests.grafana.conftest import ROLE, Looked
from tests.grafana.expand import expand
from tests.unit.store import made

RULES = {rule.uid: rule for rule in alerts.RULES}
NOW = datetime.now(UTC)


def fires(rule: Rule, rows: Sequence[Sequence[Any]], names: Sequence[str]) -> bool:
    """As the expressions B and C of the rule do: by curve (the words of a row), reduced to the last, then compared."""
    assert names[0] == "time"
    assert names[-1] == "value"
    newest: dict[Any, float] = {}
    for row in sorted(rows, key=lambda row: row[0]):
        assert all(isinstance(word, str) for word in row[1:-1])
        if row[-1] is not None:
            newest[tuple(row[1:-1])] = float(row[-1])
    kind, bound = rule.beyond
    return any(value > bound if kind == "gt" else value < bound for value in newest.values())


def asked(dsn: str, uid: str) -> bool:
    session = psycopg2.connect(make_url(dsn).set(username=ROLE).render_as_string(hide_password=False))
    with session, session.cursor() as cursor:
        cursor.execute(expand(" ".join(RULES[uid].sql.split()), NOW, NOW, {}))
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
    session.close()
    return fires(RULES[uid], rows, names)


@pytest.fixture
def reader(dsn: str) -> str:
    with psycopg2.connect(dsn) as owner, owner.cursor() as cursor:
        cursor.execute(report.reader_sql(ROLE))
    owner.close()
    return dsn


def file(conn: Connection, good: int, bad: int, hours: float = 0.2, profile: str = "milling") -> None:
    profile_id = models.ensure_profile(conn, profiles.load(profile))
    arrival = made.ingested(conn, profile_id, [good] if good else [], bad)
    conn.execute(
        text("UPDATE file SET arrived_at = now() - make_interval(secs => :s), ingested_at = now() - make_interval(secs => :s)"
             " WHERE id = :id"),
        {"s": hours * 3600, "id": arrival.file_id},
    )  # fmt: skip


def predicted(conn: Connection, rows: int, failing: int, *, share: float = 0.1, hours: float = 1) -> None:
    """A part that an active model predicted, whose training rows failed with that share."""
    plant = made.plant(conn)
    card = {"data": {"rows": 1000}, "at_threshold": {"true_alarms": share * 1000, "false_alarms": 0}}
    conn.execute(text("UPDATE model SET card = CAST(:card AS jsonb)"), {"card": json.dumps(card)})
    made.ingested(conn, plant.profile_id, [rows])
    part = ledger.waiting_parts(conn, 1)[0]
    made.predict(conn, plant, part.id)
    conn.execute(
        text("UPDATE part SET failing = :failing, predicted_at = now() - make_interval(hours => :hours)"),
        {"failing": failing, "hours": hours},
    )


def drifted(conn: Connection, mean: float, days: Sequence[int] = (0, 1, 2), rows: int = 2000) -> None:
    rng = np.random.default_rng(5)
    plant = made.plant(conn)
    bins = [pure.bins_of("torque", rng.normal(size=1000).astype(np.float32), -9, 9)]
    drift.keep_bins(conn, plant.model_id, bins)
    counts = pure.count(bins, rng.normal(mean, 1, (rows, 1)).astype(np.float32), np.zeros(rows, dtype=np.int64), 1)
    for day in days:
        drift.add(conn, plant.model_id, NOW - timedelta(days=day), plant.machines[:1], [rows], [0], counts)


def trained(conn: Connection, days: int, active: bool = True) -> None:
    profile_id = models.ensure_profile(conn, profiles.load("milling"))
    models.ensure_model(conn, profile_id, "v1", {"created": (NOW - timedelta(days=days)).isoformat()}, active)


def figure(conn: Connection, name: str, *values: float, minutes: float = 1, apart: float = 1) -> None:
    for number, value in enumerate(values):
        conn.execute(
            text("INSERT INTO metric (at, name, value) VALUES (now() - make_interval(secs => :ago), :name, :value)"),
            {"ago": 60 * (minutes + apart * number), "name": name, "value": value},
        )


def disk(conn: Connection, free: float, a_day: float = 0, size: float = 100e9) -> None:
    """The newest is ``free``; each hour before it had a 24th of ``a_day`` more."""
    figure(conn, "box_disk_bytes", size)
    figure(conn, "box_disk_free_bytes", *(free + a_day / 24 * hour for hour in range(72)), apart=60)


def copying(conn: Connection, hours: float, *, confirmed: bool = False) -> None:
    """Good rows that were put into the outbox so long ago."""
    file(conn, 10, 0)
    outbox.gather(conn)
    conn.execute(
        text(
            "UPDATE outbox SET created_at = now() - make_interval(secs => :s), size = 1, sha256 = repeat('0', 64),"
            " bucket = 'b', key = 'k', proof = CASE WHEN :c THEN 'read' END, verified_at = CASE WHEN :c THEN now() END"
        ),
        {"s": hours * 3600, "c": confirmed},
    )


def backed_up(conn: Connection, hours: float, *, damage: str | None = None) -> None:
    conn.execute(
        text(
            "INSERT INTO backup (name, place, made_at, bytes, sha256, revision, damage) VALUES"
            " (CAST(:h AS text), '/p', now() - make_interval(secs => :s), 1, repeat('0', 64), '0014', :damage)"
        ),
        {"h": hours, "s": hours * 3600, "damage": damage},
    )


def drilled(conn: Connection, outcome: str) -> None:
    query = "INSERT INTO run (kind, started_at, finished_at, outcome) VALUES ('drill', :at, :at, :outcome)"
    conn.execute(text(query), {"at": NOW, "outcome": outcome})


def ran(conn: Connection, kind: str, minutes: float) -> None:
    # Not NOW, which is when the tests were collected: some run a quarter of an hour later.
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    query = "INSERT INTO run (kind, started_at, finished_at, outcome) VALUES (:kind, :at, :at, 'skipped')"
    conn.execute(text(query), {"kind": kind, "at": at})


def both(*steps: Callable[[Connection], None]) -> Callable[[Connection], None]:
    def done(conn: Connection) -> None:
        for step in steps:
            step(conn)

    return done


Case = tuple[str, bool, Callable[[Connection], None]]
CASES: dict[str, Case] = {
    "every row is bad": ("all-bad", True, lambda c: file(c, 0, 100)),
    "one file in two is bad": ("all-bad", False, both(lambda c: file(c, 0, 100), lambda c: file(c, 100, 0))),
    "a bad file of this morning": ("all-bad", False, lambda c: file(c, 0, 100, hours=3)),
    "five bad rows say nothing": ("all-bad", False, lambda c: file(c, 0, 5)),
    "one profile is all bad": (
        "all-bad", True, both(lambda c: file(c, 0, 100), lambda c: file(c, 100, 0, profile="pump")),
    ),
    "a fifth is bad, usually none": (
        "bad-share", True, both(lambda c: file(c, 990, 10, hours=30), lambda c: file(c, 200, 50)),
    ),
    "a fifth is bad, as always": (
        "bad-share", False, both(lambda c: file(c, 800, 200, hours=30), lambda c: file(c, 200, 50)),
    ),
    "three in a hundred are bad, usually none": (
        "bad-share", False, both(lambda c: file(c, 1000, 0, hours=30), lambda c: file(c, 970, 30)),
    ),
    "few rows are bad": ("bad-share", False, both(lambda c: file(c, 1000, 0, hours=30), lambda c: file(c, 50, 50))),
    "the last file came yesterday": ("no-data", True, lambda c: file(c, 10, 0, hours=9)),
    "a file came within the shift": ("no-data", False, both(lambda c: file(c, 10, 0, hours=9), lambda c: file(c, 1, 0, 7))),
    "one of two profiles is silent": (
        "no-data", True, both(lambda c: file(c, 10, 0, hours=9), lambda c: file(c, 1, 0, 1, "pump")),
    ),
    "no failure in a thousand rows, of which 100 should": ("only-passing", True, lambda c: predicted(c, 1000, 0)),
    "no failure in a thousand rows, of which 5 should": (
        "only-passing", False, lambda c: predicted(c, 1000, 0, share=0.005),
    ),
    "no failure in 199 rows": ("only-passing", False, lambda c: predicted(c, 199, 0)),
    "one failure in a thousand": ("only-passing", False, lambda c: predicted(c, 1000, 1)),
    "no failure the day before": ("only-passing", False, lambda c: predicted(c, 1000, 0, hours=30)),
    "only failures": ("only-failing", True, lambda c: predicted(c, 250, 250)),
    "all but one fail": ("only-failing", False, lambda c: predicted(c, 250, 249)),
    "few rows all fail": ("only-failing", False, lambda c: predicted(c, 100, 100)),
    "a feature moved by two deviations": ("drift", True, lambda c: drifted(c, 2)),
    "a feature moved now and then": ("drift", True, lambda c: drifted(c, 2, days=(1, 3, 6))),
    "a feature moved for two days": ("drift", False, lambda c: drifted(c, 2, days=(0, 1))),
    "a feature moved last week": ("drift", False, lambda c: drifted(c, 2, days=(6, 7, 8))),
    "a feature is where it was": ("drift", False, lambda c: drifted(c, 0)),
    "a feature moved a little": ("drift", False, lambda c: drifted(c, 0.35)),
    "a few rows are elsewhere": ("drift", False, lambda c: drifted(c, 2, rows=150)),
    "a model of two years": ("stale-model", True, lambda c: trained(c, 730)),
    "a model of this summer": ("stale-model", False, lambda c: trained(c, 100)),
    "an old model that does not serve": ("stale-model", False, lambda c: trained(c, 730, active=False)),
    "rows wait for an hour": ("lag", True, lambda c: file(c, 10, 0, hours=1)),
    "rows wait for a minute": ("lag", False, lambda c: file(c, 10, 0, hours=1 / 60)),
    "all is predicted": ("lag", False, lambda c: predicted(c, 300, 3)),
    "a twentieth is free": ("disk", True, lambda c: disk(c, 4e9)),
    "full in three days": ("disk", True, lambda c: disk(c, 30e9, a_day=10e9)),
    "full in a month": ("disk", False, lambda c: disk(c, 30e9, a_day=1e9)),
    "it becomes emptier": ("disk", False, lambda c: disk(c, 30e9, a_day=-10e9)),
    "copies wait for two days": ("bucket", True, lambda c: copying(c, 48)),
    "copies wait for a night": ("bucket", False, lambda c: copying(c, 10)),
    "all was copied": ("bucket", False, lambda c: copying(c, 48, confirmed=True)),
    "the newest backup is of three days ago": ("backup", True, both(lambda c: backed_up(c, 90), lambda c: backed_up(c, 72))),
    "a backup was made in the night": ("backup", False, both(lambda c: backed_up(c, 72), lambda c: backed_up(c, 9))),
    "the newest backup is damaged, the one before is old": (
        "backup", True, both(lambda c: backed_up(c, 72), lambda c: backed_up(c, 9, damage="other bytes")),
    ),
    "all backups are damaged": ("backup", True, lambda c: backed_up(c, 1, damage="other bytes")),
    "the drill failed": ("restore-drill", True, both(lambda c: drilled(c, "done"), lambda c: drilled(c, "failed"))),
    "the drill failed, and had nothing to do since": (
        "restore-drill", True, both(lambda c: drilled(c, "failed"), lambda c: drilled(c, "skipped")),
    ),
    "a good drill ended it": (
        "restore-drill", False, both(lambda c: drilled(c, "failed"), lambda c: drilled(c, "done")),
    ),
    "files stopped an hour ago": ("scheduler", True, both(lambda c: ran(c, "ingest", 60), lambda c: ran(c, "predict", 1))),
    "predictions stopped": ("scheduler", True, both(lambda c: ran(c, "ingest", 1), lambda c: ran(c, "predict", 60))),
    "both run": ("scheduler", False, both(lambda c: ran(c, "ingest", 1), lambda c: ran(c, "predict", 3))),
    "maintenance ran at night": ("scheduler", False, both(lambda c: ran(c, "ingest", 1), lambda c: ran(c, "maintain", 900))),
    "one in ten requests fails": (
        "api-errors", True, both(lambda c: figure(c, "api_errors", 5, 5), lambda c: figure(c, "api_requests", 50, 50)),
    ),
    "one in a hundred fails": (
        "api-errors", False, both(lambda c: figure(c, "api_errors", 5, 5), lambda c: figure(c, "api_requests", 500, 500)),
    ),
    "two of two fail": (
        "api-errors", False, both(lambda c: figure(c, "api_errors", 2), lambda c: figure(c, "api_requests", 2)),
    ),
    "they failed an hour ago": (
        "api-errors",
        False,
        both(lambda c: figure(c, "api_errors", 9, minutes=60), lambda c: figure(c, "api_requests", 9, minutes=60)),
    ),
    "no figures for half an hour": ("api-silent", True, lambda c: figure(c, "box_faults", 0, minutes=30)),
    "figures of a minute ago": ("api-silent", False, lambda c: figure(c, "box_faults", 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_fires_when_it_must_and_only_then(engine: Engine, reader: str, case: str) -> None:
    name, wanted, step = CASES[case]
    with transaction(engine) as conn:
        step(conn)
    assert asked(reader, f"appliance-{name}") is wanted


def test_each_has_data_that_fires_it_and_data_that_does_not() -> None:
    for uid in RULES:
        assert {wanted for name, wanted, _ in CASES.values() if f"appliance-{name}" == uid} == {True, False}, uid


@pytest.mark.parametrize("uid", RULES)
def test_a_box_that_was_set_up_just_now_and_one_that_is_well_are_silent(empty: Looked, hour: Looked, uid: str) -> None:
    for looked in (empty, hour):
        names, rows = looked.rows(expand(" ".join(RULES[uid].sql.split()), looked.since, looked.until, {}))
        if looked is empty:
            assert not fires(RULES[uid], rows, names)
        else:
            fires(RULES[uid], rows, names)


def test_the_file_is_as_grafana_documents_it() -> None:
    """One wrong word, and Grafana takes none of its rules."""
    document = yaml.safe_load(alerts.rules())
    assert set(document) == {"apiVersion", "groups"}
    [group] = document["groups"]
    assert set(group) == {"orgId", "name", "folder", "interval", "rules"}
    uids = [rule["uid"] for rule in group["rules"]]
    assert len(set(uids)) == len(uids)
    dashboards = {one.uid for one in files.DASHBOARDS}
    for rule in group["rules"]:
        assert set(rule) == {
            "uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels", "isPaused",
            "notification_settings",
        }  # fmt: skip
        assert rule["noDataState"] in {"Alerting", "NoData", "OK", "KeepLast"}
        assert rule["execErrState"] in {"Alerting", "Error", "OK", "KeepLast"}
        refs = [query["refId"] for query in rule["data"]]
        assert rule["condition"] in refs
        for query in rule["data"]:
            assert set(query) == {"refId", "relativeTimeRange", "datasourceUid", "model"}
            assert query["model"]["refId"] == query["refId"]
            assert query["datasourceUid"] in ("appliance", "__expr__")
            assert query["model"]["datasource"]["uid"] == query["datasourceUid"]
            if query["datasourceUid"] == "__expr__":
                assert query["model"]["expression"] in refs
                assert query["model"]["type"] in {
                    "math",
                    "reduce",
                    "resample",
                    "classic_conditions",
                    "threshold",
                    "sql",
                }
        assert len(rule["uid"]) <= 40
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}
        assert notes["summary"].endswith(".")
        assert notes["description"].endswith(".")
        assert notes["runbook_url"].removeprefix("/d/") in dashboards
        # Labels are looked through for environment variables, and annotations of newer releases for those in braces.
        assert all("$" not in value for value in rule["labels"].values())
        assert all("${" not in value for value in notes.values())
