"""Rows of files, counted for drift in the transaction that predicts them: each once, whatever is killed or repeated."""

from __future__ import annotations

import logging
from datetime import datetime

import numpy as np

from appliance import drift
from appliance.serving import Served
from appliance.store import drift as store
from appliance.store.engine import Connection
from appliance.store.rows import OUTSIDE, Batch

log = logging.getLogger(__name__)


def count(connection: Connection, served: Served, batch: Batch, predicted_at: datetime) -> None:
    """Add predicted rows to the counts of their machines' day.

    Counting must not stand in the way of predictions: what cannot be counted is left out, with a line in the log.
    """
    known = store.bins(connection, batch.model_id)
    try:
        bins = known or served.drift_bins()
        if not bins:
            return
        machines, of = np.unique(batch.machine_ids, return_inverse=True)
        counts = drift.count(bins, np.column_stack([batch.features, batch.probability]), of, len(machines))
        rows = np.bincount(of, minlength=len(machines))
        outside = np.bincount(of[(batch.flags & OUTSIDE) != 0], minlength=len(machines))
    except Exception:
        log.exception("rows of model %s could not be counted for drift", served.version)
        return
    if not known:
        store.keep_bins(connection, batch.model_id, bins)
    store.add(connection, batch.model_id, predicted_at, machines.tolist(), rows.tolist(), outside.tolist(), counts)
