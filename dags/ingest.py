"""Every minute: take in what the machines dropped."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from appliance import settings

log = logging.getLogger(__name__)
box = settings.load()

with DAG(
    dag_id="ingest",
    schedule=CronTriggerTimetable(box.ingest_cron, timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # A file of the largest size may take half an hour on a small box; the others wait for the next run.
    dagrun_timeout=timedelta(seconds=box.ingest_seconds, hours=2),
    default_args={"retries": 0, "owner": "appliance"},
    tags=["appliance", "files"],
    description="Take in what the machines dropped: check row by row, split into good and bad, record.",
    doc_md="""
### From the drop folders to good and bad rows

Machines drop files into `raw_data/<profile>/`. Every minute this run looks there, and takes what is new.

**Most runs are skipped**: there was nothing to do. That is normal, and each is counted in our table `run`, so that
silence can be told from death.

The graph is short on purpose. Copying, checking and splitting are *one* step, because a frame of a million rows would
otherwise be written down and read again only to cross from one process to the next; within it every file is
committed by itself, and nothing is lost or doubled if it is killed at any moment. `send_alerts` is the end of every
run that began, also of one that failed, so that the failure itself is told.

**No step is retried**: the next minute is the retry. A failed run means that the box or its database had trouble (the
log's last lines say which); the files stay where they are. A file over which passes break off again and again is put
into quarantine, and stops no other.

By hand: `appliance ingest`. More: `docs/schedule.md`.
""",
) as dag:

    @task(
        execution_timeout=timedelta(minutes=2),
        doc_md="""
Looks whether there is anything to do: a file in the drop folder of a profile that has an active model, a file that a
killed pass left half done, or a message that is due. It loads next to nothing, so that an empty minute costs next to
nothing. Nothing to do: **skipped**, and all behind it. Failed: the database does not answer.
""",
    )
    def look_for_files() -> dict[str, bool]:
        from appliance import glance

        seen = glance.look_for_files(settings.load())
        if not seen.work and not seen.alerts:
            raise AirflowSkipException(seen.why)
        return {"files": seen.work, "alerts": seen.alerts}

    @task(
        execution_timeout=timedelta(seconds=box.ingest_seconds, hours=1),
        doc_md="""
Takes each new file: waits until it is at rest, copies and hashes it, checks every row against the contract of the
active model's profile, writes good rows to `good_data/` and bad ones with their reasons to `bad_data/`, and commits. It
starts no further file after `ingest_seconds`. **Skipped** where only messages are due, or where somebody runs a pass by
hand: that one takes new files along.
""",
    )
    def validate_and_split(seen: dict[str, bool]) -> int:
        if not seen["files"]:
            raise AirflowSkipException("Only messages are due.")
        from appliance import pipeline

        done = pipeline.ingest_in_turn(pipeline.open_box(settings.load()))
        if done is None:
            raise AirflowSkipException("Another pass is running; it takes new files along.")
        log.info(done.sentence())
        return done.run

    @task(
        execution_timeout=timedelta(minutes=5),
        doc_md="""
Keeps the figures of this pass for the curves (rows, files by criticality, delay, what waits), and checks the pass
against the ledger: rows in = good + bad, good = rows in parts. **Failed: the accounts do not add up**, which must never
happen; people are told, and the log says which file.
""",
    )
    def record_statistics(run: int) -> None:
        from appliance import pipeline

        wrong = pipeline.record_statistics(pipeline.open_box(settings.load()), run)
        if wrong:
            raise AirflowFailException(" ".join(wrong))

    @task(
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Tells people what they have to be told: alarms, bad files, faults of the box. It ends every run that was not skipped,
whatever became of the steps before it. A target that does not answer is told later; that fails nothing here.
""",
    )
    def send_alerts() -> None:
        from appliance import notify, pipeline

        opened = pipeline.open_box(settings.load())
        log.info(notify.send(opened.settings, opened.engine).sentence())

    # What a step will give stands for it here, which the types of Airflow cannot say.
    looked = look_for_files()
    taken = validate_and_split(looked)  # type: ignore[arg-type]
    recorded = record_statistics(taken)  # type: ignore[arg-type]
    # A teardown runs although what is before it failed, is skipped with its setup, and leaves the run as failed as it is.
    recorded >> send_alerts().as_teardown(setups=looked)  # type: ignore[arg-type]
