"""A bucket that is not what the ledger says."""

from __future__ import annotations

from datetime import timedelta

from appliance.checks.base import Context, Fault
from appliance.store import runs

_LONG = timedelta(days=2)


def check(context: Context) -> list[Fault]:
    if context.settings.s3_bucket is None:
        return []
    with context.transaction() as connection:
        failed = runs.failures(connection, "audit", "", 1)
        standing = runs.standing(connection, "audit", 1)
    way_out = "`appliance audit` names each difference; `appliance sync --again all` sends what is missing or other."
    if failed:
        return [Fault("audit", "fault", f"Bucket and ledger differ: {failed[0]['why']}", way_out)]
    if standing is not None and context.now - standing.started_at > _LONG:
        said = "The bucket was not compared with the ledger for more than two days."
        return [
            Fault("audit", "warning", said, "Does the timer appliance-audit run? `appliance audit` does it by hand.")
        ]
    return []
