"""``appliance status``: the box at a glance."""

from __future__ import annotations

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, say


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: JsonFlag = False) -> None:
    """Services, schedule, age of the data, backlog, models, disk and open alarms. Exit 1 where the database is away."""
    from appliance import status as standing
    from appliance.store import engine

    box = settings.load()
    seen = standing.look(box, engine.connect(box.require_dsn()))
    if as_json:
        emit(seen.as_dict())
    else:
        found = list(standing.lines(seen))
        width = max(len(name) for name, _ in found)
        for name, words in found:
            say(f"{name.ljust(width)}  {words}")
    if seen.database:
        raise typer.Exit(1)
