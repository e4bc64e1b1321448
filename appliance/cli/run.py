"""``appliance ingest|predict|maintain|score|simulate|doctor``: one pass each, for the schedule and for people."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, hint, say, workshop

Seconds = Annotated[float | None, typer.Option("--seconds", min=0, help="Start no further file after so many seconds.")]


def register(app: typer.Typer) -> None:
    app.command()(ingest)
    app.command()(predict)
    app.command()(maintain)
    app.command()(score)
    app.command()(doctor)
    app.command(
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
        add_help_option=False,
    )(simulate)


def ingest(seconds: Seconds = None, as_json: JsonFlag = False) -> None:
    """One pass over the drop folders: copy, check row by row, split into good and bad, record."""
    from appliance import pipeline

    report = pipeline.ingest(pipeline.open_box(settings.load()), seconds=seconds)
    if as_json:
        emit(report.as_dict())
    else:
        say(report.sentence())
    if report.broken:
        raise typer.Exit(1)


def predict(
    seconds: Seconds = None,
    retry: Annotated[bool, typer.Option("--retry", help="Give parts that were given up another five tries.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """One pass over the waiting parts: have the API score each, once."""
    from appliance import pipeline

    box = pipeline.open_box(settings.load())
    if retry:
        hint(f"{pipeline.retry_failed(box)} parts wait for another try.")
    report = pipeline.predict(box, seconds=seconds)
    if as_json:
        emit(report.as_dict())
    else:
        say(report.sentence())
    if report.failed:
        raise typer.Exit(1)


def maintain(as_json: JsonFlag = False) -> None:
    """Remove what is older than the settings say: predictions, records, originals, and what the schedule kept."""
    from appliance import maintain as steps
    from appliance import pipeline

    found = []
    for name, counts, error in steps.everything(pipeline.open_box(settings.load())):
        found.append({"step": name, **counts, **({"error": str(error)} if error else {})})
        if not as_json:
            did = ", ".join(f"{what} {_listed(count)}" for what, count in counts.items())
            say(f"{name}: {error or did or 'done'}")
    if as_json:
        emit({"steps": found})
    if any("error" in step for step in found):
        raise typer.Exit(1)


def score(
    file: Path,
    profile: Annotated[str | None, typer.Option(help="Profile of the file, where several models are active.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Score with the bundle in this folder.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the rows with their predictions here; default: standard output.")
    ] = None,
    machine: Annotated[str, typer.Option(help="Machine of the rows, where the file does not say it.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Score a file with the active model; needs no database and stores nothing. Bad rows are told and left out."""
    from appliance import scoring

    box = settings.load()
    with ExitStack() as stack:
        stream: TextIO | None = None if as_json else sys.stdout
        if out is not None:
            stream = stack.enter_context(out.open("w", encoding="utf-8", newline=""))
        done = scoring.score_file(box, file, profile=profile, folder=bundle, machine=machine, out=stream)
    if as_json:
        emit(done.as_dict())
    else:
        hint(done.sentence())


def simulate(context: typer.Context) -> None:
    """Play a plant of machines that drop files, with faults on request. (--help lists all)"""
    workshop("model.simulate", context.args)


def doctor(
    network: Annotated[
        bool, typer.Option("--network", help="Name what this box connects to outside of itself, and try each.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Look for faults, each with its way out."""
    if network:
        _network(as_json)
        return
    from appliance import checks
    from appliance.serving import Models
    from appliance.store import engine

    box = settings.load()
    models = Models(box)
    models.refresh()
    faults = checks.run(checks.Context(box, engine.connect(box.require_dsn()), models, datetime.now(UTC)))
    if as_json:
        emit({"faults": [asdict(fault) for fault in faults]})
    elif not faults:
        say("No fault found.")
    for fault in () if as_json else faults:
        say(f"{fault.severity}: {fault.sentence} {fault.way_out}".rstrip())
    if any(fault.severity == "fault" for fault in faults):
        raise typer.Exit(1)


def _network(as_json: bool) -> None:
    from appliance import network

    tried = [(each, network.trouble(each)) for each in network.destinations(settings.load())]
    if as_json:
        emit({"destinations": [each.as_dict() | {"trouble": trouble} for each, trouble in tried]})
    elif not tried:
        say("This box connects to nothing outside of itself.")
    for each, trouble in () if as_json else tried:
        say(f"{each.sentence()}: {trouble or 'reached'}")
    if any(trouble for _, trouble in tried):
        raise typer.Exit(1)


def _listed(count: object) -> str:
    return ", ".join(map(str, count)) or "none" if isinstance(count, list) else str(count)
