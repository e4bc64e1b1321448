"""How long a part of a file waits after a failed try, and when its turn has come."""

from __future__ import annotations

FIRST_SECONDS = 60
LONGEST_SECONDS = 3600
# Of table part. A clock that was ahead and is set back makes nothing wait for years: what was never tried has no pause, and
# no pause is longer than the longest.
PART_DUE = (
    "(part.state = 'waiting' AND (part.tries = 0 OR part.next_try_at <= clock_timestamp()"
    f" OR part.next_try_at > clock_timestamp() + interval '{LONGEST_SECONDS} seconds'))"
)
