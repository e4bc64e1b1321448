"""Every two minutes: have the API predict the good rows that wait."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from appliance import settings

log = logging.getLogger(__name__)
box = settings.load()

with DAG(
    dag_id="predict",
    schedule=CronTriggerTimetable(box.predict_cron, timezone="UTC"),
    start_date=datetime(2020, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(seconds=4 * box.predict_seconds, hours=2),
    default_args={"retries": 0, "owner": "appliance"},
    tags=["appliance", "predictions"],
    description="Have the API predict the good rows that wait.",
    doc_md="""
### From good rows to stored predictions

Files are predicted in parts of up to `part_rows` rows. Every two minutes this run hands each waiting part to the API,
which scores it and commits rows, machine states, alarms and the part's mark in one transaction: a part is predicted
once, whatever is killed or repeated here.

**Most runs are skipped**: no good rows wait.

`predict_parts` is the only step that is **retried**, three times, after a quarter of a minute and then after ever longer
pauses: an API that was started again is back by then. If it is not, the run ends as failed, people are told, and the
parts wait for the next run; nothing is lost. A part that the API cannot score is tried again after pauses that grow,
and given up after `part_tries`: `appliance predict --retry` lets it wait again.

By hand: `appliance predict`. More: `docs/schedule.md`.
""",
) as dag:

    @task(
        execution_timeout=timedelta(minutes=2),
        doc_md="""
Looks whether a part waits whose turn has come, or a message is due; it loads next to nothing. Nothing to do:
**skipped**, and all behind it. Failed: the database does not answer.
""",
    )
    def check_for_new_data() -> dict[str, bool]:
        from appliance import glance

        seen = glance.look_for_parts(settings.load())
        if not seen.work and not seen.alerts:
            raise AirflowSkipException(seen.why)
        return {"parts": seen.work, "alerts": seen.alerts}

    @task(
        # The last part may begin just before the time is over, and the API may take three minutes for it.
        execution_timeout=timedelta(seconds=box.predict_seconds, minutes=15),
        retries=3,
        retry_delay=timedelta(seconds=15),
        retry_exponential_backoff=2,
        max_retry_delay=timedelta(minutes=2),
        doc_md="""
Hands each waiting part to the API, the oldest first, and starts no further one after `predict_seconds`. **Retried**
where the API or the database is away. **Failed at once** where the API could not score a part: the log says why, and
the part is tried again later.
""",
    )
    def predict_parts(seen: dict[str, bool]) -> None:
        if not seen["parts"]:
            raise AirflowSkipException("Only messages are due.")
        from appliance import pipeline

        opened = pipeline.open_box(settings.load())
        done = pipeline.predict(opened, seconds=opened.settings.predict_seconds)
        log.info(done.sentence())
        if done.failed:
            raise AirflowFailException(done.sentence())

    @task(
        execution_timeout=timedelta(minutes=10),
        doc_md="""
Tells people what they have to be told, above all the alarms of the rows that were predicted just now. It ends every run
that was not skipped, whatever became of the step before it.
""",
    )
    def send_alerts() -> None:
        from appliance import notify, pipeline

        opened = pipeline.open_box(settings.load())
        log.info(notify.send(opened.settings, opened.engine).sentence())

    # What a step will give stands for it here, which the types of Airflow cannot say.
    looked = check_for_new_data()
    predicted = predict_parts(looked)  # type: ignore[arg-type]
    # A teardown runs although what is before it failed, is skipped with its setup, and leaves the run as failed as it is.
    predicted >> send_alerts().as_teardown(setups=looked)  # type: ignore[arg-type]
