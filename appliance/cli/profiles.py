"""``appliance profile ...``: check a machine's description, and see what it makes of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, say, table

app = typer.Typer(help="Descriptions of machines.", no_args_is_help=True)

ProfileArgument = Annotated[str, typer.Argument(help="Name of a profile, or the path of its TOML file.")]


@app.command()
def check(profile: ProfileArgument, as_json: JsonFlag = False) -> None:
    """Read a profile as a whole; what is wrong is named with its place and reason."""
    from appliance import shipped

    found = shipped.find(settings.load(), profile)
    if as_json:
        emit({"profile": found.name, "inputs": found.matrix_names, "threshold": found.threshold, "hash": found.hash()})
    else:
        inputs = ", ".join(found.matrix_names)
        say(f"{found.title} ({found.name}) is whole: {len(found.columns)} columns, inputs {inputs}.")
        say(f"By its costs a warning pays from a probability of {found.threshold:.1%}.")


@app.command()
def preview(
    file: Path,
    profile: Annotated[str, typer.Option(help="Name of a profile, or the path of its TOML file.")],
    machine: Annotated[str, typer.Option(help="Machine of the rows, where the file does not say it.")] = "preview",
    as_json: JsonFlag = False,
) -> None:
    """Count good and bad rows of a file and show the first reasons, before anything is trained or stored."""
    from appliance import scoring, shipped

    seen = scoring.preview(settings.load(), file, shipped.find(settings.load(), profile), machine)
    if as_json:
        emit(seen.as_dict())
        return
    say(f"{seen.rows:,} rows: {seen.good:,} good, {seen.bad:,} bad.")
    if seen.issues:
        table(
            ((i.rule, i.column, i.count, " | ".join(i.examples)) for i in seen.issues),
            ("rule", "column", "rows", "examples"),
        )
    for row, reasons in seen.first_reasons:
        say(f"row {row}: {reasons}")
