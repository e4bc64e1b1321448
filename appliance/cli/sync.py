"""``appliance sync|audit``: copies to S3, and the proof that they are there."""

from __future__ import annotations

import base64
from datetime import date
from typing import Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say
from appliance.errors import UsageError

NO_BUCKET = "No bucket is set: nothing leaves this box."


def register(app: typer.Typer) -> None:
    app.command()(sync)
    app.command()(audit)


def sync(
    once: Annotated[bool, typer.Option("--once", help="One pass, as the timer makes it; the default.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Pass after pass, until it is ended.")] = False,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help="First look at what was copied of these days: 2026-11-01, 2026-11-01..2026-11-07 or all.",
        ),
    ] = None,
    flush: Annotated[bool, typer.Option("--flush", help="Send predictions that would be gathered for longer.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Try what failed at once, without waiting for its next try.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="Begin nothing further after so many seconds.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy good and bad rows, predictions and outcomes to the bucket; each is kept until the store confirmed it."""
    if watch and (once or as_json):
        raise UsageError("--watch ends never and prints sentences.", "Leave out --once and --json.")
    from appliance import outbox, pipeline

    found = settings.load()
    if found.s3_bucket is None:
        emit({"bucket": None}) if as_json else say(NO_BUCKET)
        return
    box = pipeline.open_box(found)
    if again is not None:
        hint(f"{outbox.again(box, *days(again)):,} objects are looked at again.")
    if watch:
        outbox.watch(box, say)
    done = outbox.once(box, seconds=seconds, flush=flush, now=now)
    if as_json:
        emit({"bucket": found.s3_bucket, **done.as_dict()})
    else:
        say(done.sentence())
    if done.errors:
        raise typer.Exit(1)


def audit(
    read: Annotated[
        bool, typer.Option("--read", help="Read every object back, and every file here; takes as long.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare the bucket with the ledger, name each difference, and sign what is right. Exit 1 on any difference."""
    from appliance import audit as auditing
    from appliance import pipeline, statements

    found = settings.load()
    if found.s3_bucket is None:
        emit({"bucket": None}) if as_json else say("No bucket is set: there is nothing to compare.")
        return
    done = auditing.run(pipeline.open_box(found), read=read)
    if as_json:
        key = statements.public_key(found).public_bytes_raw()
        emit({"bucket": found.s3_bucket, "public_key": base64.b64encode(key).decode(), **done.as_dict()})
    else:
        for one in done.differences:
            say(one.sentence)
        say(done.sentence())
    if done.differences:
        raise typer.Exit(1)


def days(said: str) -> tuple[date, date]:
    """``2026-11-01``, ``2026-11-01..2026-11-07`` or ``all`` as first and last day."""
    if said == "all":
        return date.min, date.max
    first, _, last = said.partition("..")
    try:
        found = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise UsageError(
            f"{said!r} is no range of days.", "Write it as 2026-11-01, 2026-11-01..2026-11-07 or all."
        ) from None
    if found[1] < found[0]:
        raise UsageError(f"{said!r} ends before it begins.", "Write the earlier day first.")
    return found
