"""Messages that reach nobody: a target that is written wrongly, does not answer, or was given up."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

from appliance import notify, notify_targets
from appliance.checks.base import Context, Fault, long
from appliance.settings import Settings
from appliance.store import notices

# The hour's messages may be used up, so an hour alone is nothing.
_LONG = timedelta(hours=2)
_RECENTLY = timedelta(days=7)
_WAY_OUT = "`appliance notify list` names the reasons, `appliance notify test` tries every target."

# Whether a line can be used is asked in a process of its own, which takes a second: once for a setting.
_looked: dict[str, list[str]] = {}
_looking = threading.Lock()


def check(context: Context) -> list[Fault]:
    settings = context.settings
    if settings.notify_targets is None:
        return []
    found = [
        Fault("notify_targets", "warning", said, "Mend it (docs/notify.md), and try it: `appliance notify test`.")
        for said in _wrong(settings)
    ]
    digests = [target.digest for target in notify_targets.read(settings)[0]]
    with context.transaction() as connection:
        late, oldest = notices.overdue(connection, context.now - _LONG)
        lost = notices.given_up(connection, digests, context.now - _RECENTLY)
    if oldest is not None:
        said = "1 message waits" if late == 1 else f"{late} messages wait"
        said += f" to be sent, the oldest for {long(context.now - oldest)}."
        found.append(Fault("messages_wait", "warning", said, _WAY_OUT))
    if lost:
        said = "1 message was" if lost == 1 else f"{lost} messages were"
        said += f" given up within {_RECENTLY.days} days: the target never took it."
        found.append(Fault("messages_given_up", "warning", said, _WAY_OUT))
    return found


def _wrong(settings: Settings) -> list[str]:
    assert settings.notify_targets is not None
    key = hashlib.sha256(settings.notify_targets.get_secret_value().encode()).hexdigest()
    with _looking:
        if key not in _looked:
            _looked[key] = [error.message for error in notify.look(settings)]
        return _looked[key]
