"""The cheap look before a pass: is there anything to do? Asked every minute, mostly for a no.

Standard library and psycopg2 alone: what a pass needs takes two seconds of a core to load, and an empty minute must not
pay them. A no is recorded as a skipped run, so that silence can be told from death. A yes may be wrong (a file of which
the pass finds that it is still being written), a no may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance import dropfolder, shelf
from appliance.settings import Settings
from appliance.store import glance as store

NO_FILES = "no new files"
NO_PARTS = "no new good data"


@dataclass(frozen=True, slots=True)
class Glance:
    """``work``: there is something for the pass. ``alerts``: somebody is to be told something. ``why``: why no work."""

    work: bool
    alerts: bool
    why: str = ""


def look_for_files(settings: Settings) -> Glance:
    """Files in the drop folders of profiles that are served, or one that a killed pass left half done. StoreAway."""
    waiting = dropfolder.anything(settings.raw, shelf.served(settings.models))
    with store.look(settings.require_dsn()) as database:
        work = waiting or database.interrupted()
        if not work:
            database.skipped("ingest", NO_FILES)
        return Glance(work, database.notice_due(), "" if work else NO_FILES)


def look_for_parts(settings: Settings) -> Glance:
    """Good rows whose turn for a prediction has come. StoreAway."""
    with store.look(settings.require_dsn()) as database:
        work = database.part_due()
        if not work:
            database.skipped("predict", NO_PARTS)
        return Glance(work, database.notice_due(), "" if work else NO_PARTS)
