"""Once a minute, the figures of the box and of this API, into the database."""

from __future__ import annotations

import logging

from appliance import vitals
from appliance.api.state import Api
from appliance.errors import ApplianceError
from appliance.store import drill_rows, figures, outbox, queries, report, standing

log = logging.getLogger(__name__)


def keep(api: Api) -> None:
    """Keep this minute's figures. A database that is away loses the minute, and nothing else."""
    now = api.metrics.minute.take() | vitals.machine(api.settings.data_dir.absolute()) | vitals.found(api.faults())
    try:
        with api.transaction() as connection:
            now |= vitals.waiting(queries.backlog(connection))
            if api.settings.s3_bucket is not None:
                now |= outbox.backlog(connection)
            now["box_database_bytes"] = float(standing.database_bytes(connection))
            figures.keep(connection, now)
            if ended := report.end_long(connection):
                log.warning("%d readers of the database took too long and were cut off", ended)
            if drill_rows.sweep(connection):
                log.warning("a drill of alerts was broken off; what it left is removed")
    except ApplianceError as error:
        log.debug("the figures of this minute are lost: %s", error)
    except Exception:
        # Tables that are not there yet; the check of the migrations says so.
        log.debug("the figures of this minute are lost", exc_info=True)
