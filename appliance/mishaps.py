"""What breaks off over one file: counted, told, and kept from the files behind it.

A file may break whoever reads it: by an exception that nobody foresaw, or by taking the whole process along. So each
try is counted in the ledger before the work begins, and after so many the file is put aside as poisonous. What is the
box's own trouble (no database, a full disk) is no fault of the file: it ends the pass, and is not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from appliance import runs, trouble
from appliance.errors import ApplianceError, DiskTrouble, FileRefused, StoreAway
from appliance.names import printable
from appliance.store import engine as store
from appliance.store import journal, ledger
from appliance.store.engine import Engine

if TYPE_CHECKING:
    from appliance.intake import Claimed, Look
    from appliance.places import Places
    from appliance.profile import Profile
    from appliance.settings import Settings
    from appliance.store.rows import Arrival

log = logging.getLogger(__name__)

POISONOUS = "poisonous"
BROKE_OFF, GIVEN_UP = "file_broke_off", "file_given_up"


class Tally(Protocol):
    broken: int
    errors: list[str]


@contextmanager
def kept_to_one_file(engine: Engine, look: Look, tally: Tally) -> Iterator[None]:
    """Let the pass go on behind the block, whatever broke it off over this file. StoreAway and DiskTrouble end it."""
    try:
        yield
    except (StoreAway, DiskTrouble):
        raise
    except Exception as error:
        if its := trouble.of_box(error):
            raise its from error
        said = f"{printable(look.path.name)} of profile {look.profile}: {runs.reason(error)}"
        log.warning("broke off over %s", said, exc_info=error)
        tally.broken += 1
        tally.errors.append(said)
        with store.transaction(engine) as connection:
            journal.event_once(
                connection, BROKE_OFF, "warning", f"A pass broke off over {said}", {"path": str(look.path)}
            )


@contextmanager
def counted(settings: Settings, engine: Engine, arrival: Arrival, tries: int) -> Iterator[None]:
    """Work on a file that was claimed for the ``tries``-th time; FileRefused("poisonous") where it broke off too often."""
    if tries > settings.file_tries:
        raise _poisonous(settings.file_tries, "the process ended each time")
    try:
        yield
    except FileRefused:
        raise
    except BaseException as error:
        if isinstance(error, ApplianceError) or trouble.of_box(error):
            # Where the database is what is missing, this one is counted after all.
            with suppress(ApplianceError), store.transaction(engine) as connection:
                ledger.not_tried(connection, arrival)
            raise
        if not _is_foreseeable(error):
            raise
        _discard(settings, arrival)
        if tries >= settings.file_tries:
            raise _poisonous(tries, runs.reason(error)) from error
        if not isinstance(error, Exception):
            # As an exception that others may catch, lest it end the process.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def report(settings: Settings, profile: Profile, arrival: Arrival, claimed: Claimed, refusal: FileRefused) -> bytes:
    """The page about a file that was put aside."""
    from appliance import report as pages

    summary = pages.FileSummary(
        profile=profile,
        name=claimed.name,
        arrived_at=arrival.arrived_at,
        rows=0,
        good=0,
        bad=0,
        criticality="high",
        issues=[],
        refusal=refusal,
        zone=settings.timezone,
        site=settings.site,
    )
    return pages.html(summary).encode()


def give_up(
    engine: Engine,
    settings: Settings,
    profile: Profile,
    arrival: Arrival,
    claimed: Claimed,
    refusal: FileRefused,
    places: Places,
) -> None:
    """Put a poisonous file on record: quarantined, with a page and an event that people are told of."""
    from appliance import outputs

    _discard(settings, arrival)
    places.make_folders(places.report)
    outputs.put(places.report, report(settings, profile, arrival, claimed, refusal))
    with store.transaction(engine) as connection:
        kept, page = places.relative(places.quarantine), places.relative(places.report)
        ledger.quarantine(connection, arrival, refusal.reason, str(refusal), kept, page)
        said = f"{claimed.name} of profile {profile.name} was given up: {refusal}"
        details = {"file_id": arrival.file_id, "arrival": arrival.id}
        journal.event(connection, GIVEN_UP, "error", said, details, arrival.profile_id)


def _poisonous(tries: int, why: str) -> FileRefused:
    return FileRefused(
        POISONOUS,
        f"{tries} passes broke off over the file ({why.rstrip('.')}).",
        "It was never read to its end: look into it, and report it together with the log.",
    )


def _is_foreseeable(error: BaseException) -> bool:
    """Whether it came from the work itself; a stop from outside (Ctrl-C, a time limit) does not.

    A library in Rust that gives up raises what is no Exception.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _discard(settings: Settings, arrival: Arrival) -> None:
    from appliance.places import discard_outputs

    discard_outputs(settings, arrival)
