"""Alert rules. Each says in a sentence what to do, and is asked every minute of the views of ``report``.

Every statement gives a time, the name of what it is about, and one figure a row; the rule fires where the newest figure
is beyond its bound. A box without any data gives no rows, which is no alarm: it is not in use yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grafana import contact
from grafana.parts import DATASOURCE, Json
from grafana.provisioning import FOLDER, dumped

_EXPRESSION: Json = {"type": "__expr__", "uid": "__expr__"}
# What chance gives once in a thousand: ln 0.001.
_RARE = -6.907755


@dataclass(frozen=True)
class Rule:
    """``panel``: the dashboard that shows more. ``lasting``: for how long it has to be so."""

    uid: str
    title: str
    sql: str
    beyond: tuple[Literal["gt", "lt"], float]
    lasting: str
    severity: Literal["warning", "critical"]
    said: str
    runbook: str
    panel: str


RULES: Sequence[Rule] = (
    Rule(
        uid="appliance-all-bad",
        title="All rows are bad",
        # The newest rows, so that a bad file that was followed by good ones is no alarm any more.
        sql="""
        SELECT now() AS "time", profile, sum(rows_bad)::float8 / sum(rows_in) AS value FROM report.file
        WHERE arrived_at > now() - interval '1 hour' GROUP BY profile HAVING sum(rows_in) >= 20
        """,
        beyond=("gt", 0.999),
        lasting="0s",
        severity="critical",
        said="Every row of profile {{ $labels.profile }} that came within the hour is bad: nothing of it is predicted.",
        runbook="Open the newest bad file: a renamed column or another decimal sign shows in every row. Mend the export, or"
        " the profile.",
        panel="appliance-quality",
    ),
    Rule(
        uid="appliance-bad-share",
        title="More bad rows than usual",
        sql="""
        SELECT now() AS "time", today.profile, today.share / greatest(usual.share, 0.02) AS value
        FROM (SELECT profile, sum(rows_bad)::float8 / sum(rows_in) AS share FROM report.file
            WHERE arrived_at > now() - interval '1 hour' GROUP BY profile HAVING sum(rows_in) >= 200) AS today
        JOIN (SELECT profile, sum(rows_bad)::float8 / nullif(sum(rows_in), 0) AS share FROM report.file
            WHERE arrived_at BETWEEN now() - interval '8 days' AND now() - interval '1 hour' GROUP BY profile) AS usual
            USING (profile)
        """,
        beyond=("gt", 3),
        lasting="5m",
        severity="warning",
        said="Profile {{ $labels.profile }} has more than three times its usual share of bad rows.",
        runbook="See which rule and column they break, and on which machine: mostly a sensor, or a new export.",
        panel="appliance-quality",
    ),
    Rule(
        uid="appliance-no-data",
        title="No files come",
        sql="""
        SELECT now() AS "time", profile, file_age_seconds / 3600 AS value FROM report.freshness
        WHERE file_age_seconds IS NOT NULL
        """,
        beyond=("gt", 8),
        lasting="5m",
        severity="warning",
        said="No file of profile {{ $labels.profile }} has come for a shift of eight hours.",
        runbook="Do the machines run? If so, look whether they reach the drop folder: network, share, rights, a full disk.",
        panel="appliance-kiosk",
    ),
    Rule(
        uid="appliance-only-passing",
        title="The model predicts no failure at all",
        sql="""
        SELECT now() AS "time", profile, CASE WHEN rows >= 200 AND failing = 0 THEN log_chance_of_none ELSE 0 END AS value
        FROM report.verdict WHERE expected_share IS NOT NULL
        """,
        beyond=("lt", _RARE),
        lasting="10m",
        severity="warning",
        said="Of all rows of profile {{ $labels.profile }} within a day not one fails; at the rate of training that is less"
        " likely than one in a thousand.",
        runbook="Look at the drift of its features: a constant or rescaled reading blinds a model. If all is well there, the"
        " plant is better than the training data: train anew.",
        panel="appliance-model",
    ),
    Rule(
        uid="appliance-only-failing",
        title="The model predicts failures only",
        sql="""
        SELECT now() AS "time", profile, CASE WHEN rows >= 200 AND failing = rows THEN log_chance_of_all ELSE 0 END AS value
        FROM report.verdict WHERE expected_share IS NOT NULL
        """,
        beyond=("lt", _RARE),
        lasting="10m",
        severity="critical",
        said="Every row of profile {{ $labels.profile }} within a day is said to fail.",
        runbook="Look at the drift of its features first, then roll back to the version before: `appliance model rollback`.",
        panel="appliance-model",
    ),
    Rule(
        uid="appliance-drift",
        title="Rows are not what the model learned from",
        sql="""
        SELECT now() AS "time", profile, count(*) FILTER (WHERE days >= 3)::float8 AS value
        FROM (SELECT profile, feature, count(*) FILTER (WHERE level = 'much') AS days FROM report.drift
            WHERE active AND day > (now() AT TIME ZONE 'UTC')::date - 7 GROUP BY profile, feature) AS week
        GROUP BY profile
        """,
        beyond=("gt", 0),
        lasting="10m",
        severity="warning",
        said="A feature or the probability of profile {{ $labels.profile }} was much drifted on three of the last seven days.",
        runbook="See which feature: a sensor, a recipe or the work may be another one. If it stays so, train anew.",
        panel="appliance-model",
    ),
    Rule(
        uid="appliance-stale-model",
        title="The model is old",
        sql="""
        SELECT now() AS "time", profile, extract(epoch FROM now() - trained_at)::float8 / 86400 AS value FROM report.model
        WHERE active AND trained_at IS NOT NULL
        """,
        beyond=("gt", 365),
        lasting="1h",
        severity="warning",
        said="The model of profile {{ $labels.profile }} was trained more than a year ago.",
        runbook="Train it on newer rows, with the outcomes that people told, and compare both cards before you activate it.",
        panel="appliance-model",
    ),
    Rule(
        uid="appliance-lag",
        title="Predictions are late",
        sql="""
        SELECT now() AS "time", profile, max(extract(epoch FROM now() - ingested_at))::float8 AS value FROM report.part
        WHERE state = 'waiting' GROUP BY profile
        """,
        beyond=("gt", 900),
        lasting="5m",
        severity="critical",
        said="Good rows of profile {{ $labels.profile }} wait for a prediction for more than a quarter of an hour.",
        runbook="`appliance doctor` says why: the API, the schedule or the model. By hand: `appliance predict`.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-disk",
        title="The disk fills up",
        sql="""
        SELECT now() AS "time", 'disk' AS place,
            (disk_free_bytes < 0.05 * disk_bytes OR coalesce(days_left, 1e9) < 7)::int::float8 AS value
        FROM report.disk WHERE disk_free_bytes IS NOT NULL
        """,
        beyond=("gt", 0.5),
        lasting="10m",
        severity="critical",
        said="Less than a twentieth of the disk is free, or it is full within a week.",
        runbook="Shorten archive_days or prediction_days and run `appliance maintain`, or move data_dir to a larger disk.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-bucket",
        title="Copies do not reach the bucket",
        sql="""
        SELECT now() AS "time", 'bucket' AS place, oldest_seconds AS value FROM report.bucket WHERE waiting > 0
        """,
        beyond=("gt", 86_400),
        lasting="0s",
        severity="warning",
        said="The oldest of what waits for the bucket has done so for more than a day; it is kept on the box.",
        runbook="`appliance sync --now` says why: mostly the network, the keys, or a store that is full. `appliance status`"
        " says for how many days the disk lasts.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-backup",
        title="The backup is old",
        # The newest by its number: clocks may have been wrong when one was made.
        sql="""
        SELECT now() AS "time", 'backup' AS place, CASE WHEN kept AND good THEN age_seconds ELSE 1e9 END AS value
        FROM report.backup ORDER BY kept AND good DESC, backup_id DESC LIMIT 1
        """,
        beyond=("gt", 172_800),
        lasting="0s",
        severity="warning",
        said="There is no good backup of the last two days; one is due every night.",
        runbook="`appliance backup` makes one, and says what is in its way: mostly a disk that is not plugged in, or full.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-restore-drill",
        title="The backup cannot be restored",
        sql="""
        SELECT now() AS "time", 'drill' AS place, (outcome = 'failed')::int::float8 AS value FROM report.run
        WHERE kind = 'drill' AND outcome IN ('done', 'failed') ORDER BY run_id DESC LIMIT 1
        """,
        beyond=("gt", 0.5),
        lasting="0s",
        severity="critical",
        said="The newest backup did not come back as it was when it was restored for a trial.",
        runbook="`appliance backup list` says why. Make another by `appliance backup`, elsewhere if need be, then"
        " `appliance backup drill`: a good drill ends this, and nothing else does.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-scheduler",
        title="The schedule is silent",
        sql="""
        SELECT now() AS "time", kind, age_seconds AS value FROM report.schedule
        WHERE kind IN ('ingest', 'predict') AND age_seconds IS NOT NULL
        """,
        beyond=("gt", 900),
        lasting="0s",
        severity="critical",
        said="The pass {{ $labels.kind }} has not begun for a quarter of an hour.",
        runbook="Restart both services of the schedule together: `systemctl restart appliance-airflow-api"
        " appliance-airflow-scheduler`.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-api-errors",
        title="The API fails requests",
        sql="""
        SELECT now() AS "time", 'api' AS place,
            CASE WHEN coalesce(sum(value) FILTER (WHERE name = 'api_errors'), 0) >= 5
                THEN sum(value) FILTER (WHERE name = 'api_errors')
                    / nullif(sum(value) FILTER (WHERE name = 'api_requests'), 0)
                ELSE 0 END AS value
        FROM report.metric WHERE name IN ('api_errors', 'api_requests') AND at > now() - interval '10 minutes'
        HAVING count(*) > 0
        """,
        beyond=("gt", 0.05),
        lasting="0s",
        severity="critical",
        said="More than one in twenty requests failed within ten minutes.",
        runbook="`appliance doctor`, then `journalctl -u appliance-api`: mostly the database or the disk.",
        panel="appliance-box",
    ),
    Rule(
        uid="appliance-api-silent",
        title="The API is silent",
        sql="SELECT now() AS \"time\", 'api' AS place, age_seconds AS value FROM report.box WHERE age_seconds IS NOT NULL",
        beyond=("gt", 300),
        lasting="0s",
        severity="critical",
        said="The API has kept no figures of the box for five minutes: it does not run, or cannot write.",
        runbook="`systemctl status appliance-api`, then `appliance doctor`.",
        panel="appliance-box",
    ),
)


def rules() -> str:
    return dumped(
        {
            "apiVersion": 1,
            "groups": [
                {
                    "orgId": 1,
                    "name": "appliance",
                    "folder": FOLDER,
                    "interval": "1m",
                    "rules": [as_json(rule) for rule in RULES],
                }
            ],
        }
    )


def as_json(rule: Rule) -> Json:
    kind, bound = rule.beyond
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "C",
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": {"from": 3600, "to": 0},
                "datasourceUid": DATASOURCE["uid"],
                "model": {
                    "refId": "A",
                    "datasource": dict(DATASOURCE),
                    "format": "time_series",
                    "rawQuery": True,
                    "editorMode": "code",
                    "rawSql": " ".join(rule.sql.split()),
                    "intervalMs": 60000,
                    "maxDataPoints": 100,
                },
            },
            _expression("B", "A", {"type": "reduce", "reducer": "last", "settings": {"mode": "dropNN"}}),
            _expression(
                "C", "B", {"type": "threshold", "conditions": [{"evaluator": {"type": kind, "params": [bound]}}]}
            ),
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.lasting,
        "annotations": {
            "summary": rule.said,
            "description": rule.runbook,
            "runbook_url": f"/d/{rule.panel}",
        },
        "labels": {"severity": rule.severity, "team": "appliance", "rule": rule.uid},
        "isPaused": False,
        "notification_settings": contact.routing(),
    }


def _expression(ref: str, of: str, model: Json) -> Json:
    return {
        "refId": ref,
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": "__expr__",
        "model": {"refId": ref, "datasource": dict(_EXPRESSION), "expression": of, **model},
    }
