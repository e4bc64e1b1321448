"""``appliance demo-rows ...``: what came of simulated files, which bear the mark of such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, say

if TYPE_CHECKING:
    from appliance.demo_rows import DemoRows

group = typer.Typer(help="What came of simulated files, whose names begin with demo-.", no_args_is_help=True)
Profile = Annotated[str | None, typer.Option(help="Only those of this profile.")]


@group.command()
def count(profile: Profile = None, as_json: JsonFlag = False) -> None:
    """Say how much there is."""
    from appliance import demo_rows, pipeline

    _print(demo_rows.count(pipeline.open_box(settings.load()), profile), "", as_json)


@group.command()
def remove(profile: Profile = None, as_json: JsonFlag = False) -> None:
    """Remove all of it, in the database and on the disk, without asking. Stop the simulator first."""
    from appliance import demo_rows, pipeline

    _print(demo_rows.remove(pipeline.open_box(settings.load()), profile), "Removed: ", as_json)


def _print(found: DemoRows, before: str, as_json: bool) -> None:
    if as_json:
        emit(found.as_dict())
    else:
        say(f"{before if found else ''}{found.sentence()}")
