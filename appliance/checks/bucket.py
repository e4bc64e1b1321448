"""What waits too long for S3, and what cannot be copied at all."""

from __future__ import annotations

from datetime import timedelta

from appliance.checks.base import Context, Fault, long
from appliance.store import outbox

# Without a network for a night is nothing; a day of it is worth a look.
_LONG = timedelta(days=1)
_MANY_TRIES = 5
_WAY_OUT = "`appliance sync --once` says why; what waits is kept on this box."


def check(context: Context) -> list[Fault]:
    if context.settings.s3_bucket is None:
        return []
    with context.transaction() as connection:
        standing = outbox.standing(connection)
    if not standing.waiting or standing.oldest is None:
        return []
    why = f" ({standing.error})" if standing.error else ""
    waited = context.now - standing.oldest
    if waited >= _LONG:
        many = "1 object waits" if standing.waiting == 1 else f"{standing.waiting:,} objects wait"
        said = f"{many} for the bucket, the oldest for {long(waited)}{why}."
        return [Fault("bucket", "warning", said, _WAY_OUT)]
    if standing.tries >= _MANY_TRIES:
        said = f"Copying to the bucket failed {standing.tries} times in a row{why}."
        return [Fault("bucket", "warning", said, _WAY_OUT)]
    return []
