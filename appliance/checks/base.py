"""What a check gets, and what it says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from appliance.serving import Models
from appliance.settings import Settings
from appliance.store import engine as store
from appliance.store.engine import Connection, Engine


@dataclass(frozen=True, slots=True)
class Fault:
    """``severity`` fault: it does not work. warning: it works, and will not for long, or not for all."""

    name: str
    severity: Literal["fault", "warning"]
    sentence: str
    way_out: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "severity": self.severity, "sentence": self.sentence, "way_out": self.way_out}


@dataclass(frozen=True, slots=True)
class Context:
    """``models`` is None where nothing serves in this process; ``now`` is the box's clock, aware."""

    settings: Settings
    engine: Engine
    models: Models | None
    now: datetime

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction of the check's own: one that fails spoils no other."""
        return store.transaction(self.engine)


def long(span: timedelta) -> str:
    """A time span as one says it: 3 minutes, 2 hours, 5 days."""
    seconds = span.total_seconds()
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count != 1 else ''}"
    return f"{int(seconds)} seconds"
