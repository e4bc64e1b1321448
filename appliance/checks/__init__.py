"""What can be wrong with this box: one fault a file. Readiness, ``doctor`` and the strip on the kiosk read this list."""

from __future__ import annotations

import logging

from appliance.checks import (
    archive,
    audit,
    backlog,
    backup,
    bucket,
    clock,
    database,
    disk,
    drift,
    drop,
    lasts,
    messages,
    migrations,
    parts,
    runs,
    scheduler,
    services,
    serving,
    silence,
)
from appliance.checks.base import Context, Fault
from appliance.errors import StoreAway

__all__ = ["CHECKS", "Context", "Fault", "run"]

log = logging.getLogger(__name__)

# In the order in which they are read: what explains the others comes first.
CHECKS = (
    database,
    migrations,
    disk,
    lasts,
    clock,
    services,
    scheduler,
    runs,
    serving,
    parts,
    backlog,
    drop,
    silence,
    drift,
    messages,
    bucket,
    audit,
    backup,
    archive,
)


def run(context: Context) -> list[Fault]:
    """Every fault found now, faults before warnings. Raises nothing: a check that breaks is a fault itself."""
    found: list[Fault] = []
    for module in CHECKS:
        try:
            found += module.check(context)
        except StoreAway:
            continue  # the check of the database speaks for all who need it
        except Exception as error:
            name = module.__name__.rpartition(".")[2]
            log.exception("check %s failed", name)
            kind = type(error).__name__
            found.append(
                Fault(name, "warning", f"The check {name!r} itself failed ({kind}).", "See the log, and report it.")
            )
    return sorted(found, key=lambda fault: fault.severity != "fault")
