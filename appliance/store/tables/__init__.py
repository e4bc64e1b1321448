"""All tables. A change here needs a migration; a test compares the two."""

from appliance.store.tables.access import link, request, session, token, user
from appliance.store.tables.backup import backup
from appliance.store.tables.base import metadata
from appliance.store.tables.files import arrival, file, file_ids, machine, model, part, profile, quality_issue
from appliance.store.tables.outbox import inbox, manifest, outbox, outbox_mark, outbox_part
from appliance.store.tables.plant import alarm, delivery, event, machine_state, metric, notice, outcome, run
from appliance.store.tables.predictions import drift, drift_reference, prediction, prediction_hour, prediction_ids

__all__ = [
    "alarm",
    "arrival",
    "backup",
    "delivery",
    "drift",
    "drift_reference",
    "event",
    "file",
    "file_ids",
    "inbox",
    "link",
    "machine",
    "machine_state",
    "manifest",
    "metadata",
    "metric",
    "model",
    "notice",
    "outbox",
    "outbox_mark",
    "outbox_part",
    "outcome",
    "part",
    "prediction",
    "prediction_hour",
    "prediction_ids",
    "profile",
    "quality_issue",
    "request",
    "run",
    "session",
    "token",
    "user",
]
