"""Every night: remove what is older than the settings say."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task

from appliance import settings

log = logging.getLogger(__name__)
box = settings.load()

with DAG(
    dag_id="maintain",
    schedule=CronTriggerTimetable(box.maintain_cron, timezone=box.timezone),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # One after the other: at night too the machines drop files, and their passes come first.
    max_active_tasks=1,
    dagrun_timeout=timedelta(hours=6),
    default_args={
        "retries": 1,
        "retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=1),
        "owner": "appliance",
    },
    tags=["appliance", "housekeeping"],
    description="Remove what is older than the settings say.",
    doc_md="""
### A box that stays small

Five steps that have nothing to do with each other, so that one that fails keeps none of the others; they run one after
the other, in plant time. Each removes what is older than its setting says, a bounded piece at a time, and may be killed
and done again at any moment. The accounts of rows stay as they are: files, their parts and what brought them
are never removed.

**A failed step** is retried after ten minutes, and then left to the next night; `appliance doctor` tells of it.

By hand: `appliance maintain`. More, with a table of what stays how long: `docs/schedule.md`.
""",
) as dag:

    @task(
        doc_md="""
Makes the next month's partition of the predictions ahead, and removes whole months that are older than
`prediction_days`. What was removed is an event, by which the accounts know that it was meant.
"""
    )
    def remove_old_predictions() -> None:
        from appliance import maintain, pipeline

        log.info("%s", maintain.remove_old_predictions(pipeline.open_box(settings.load())))

    @task(
        doc_md="""
Forgets runs and figures after `run_days`, events, told messages and arrivals that brought no rows after `record_days`, and
answers kept for repeated requests after a week.
"""
    )
    def forget_old_records() -> None:
        from appliance import maintain, pipeline

        log.info("%s", maintain.forget_old_records(pipeline.open_box(settings.load())))

    @task(
        doc_md="""
Removes originals from `archive/` after `archive_days`, empty folders of past days, and what nobody knows in `work/`.
"""
    )
    def remove_old_files() -> None:
        from appliance import maintain, pipeline

        log.info("%s", maintain.remove_old_files(pipeline.open_box(settings.load())))

    @task(
        doc_md="""
Has Airflow forget its own runs, task instances and log entries after `run_days`, by its command `airflow db clean`.
"""
    )
    def clean_airflow() -> None:
        from appliance import maintain, pipeline

        log.info("%s", maintain.clean_airflow(pipeline.open_box(settings.load())))

    @task(
        doc_md="""
Removes logs of tasks after `log_days`, and folders that are empty then.
"""
    )
    def rotate_logs() -> None:
        from appliance import maintain, pipeline

        log.info("%s", maintain.rotate_logs(pipeline.open_box(settings.load())))

    remove_old_predictions()
    forget_old_records()
    remove_old_files()
    clean_airflow()
    rotate_logs()
