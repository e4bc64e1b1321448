"""``appliance db ...``: the database of this box."""

from __future__ import annotations

import typer

from appliance import settings
from appliance.cli.output import JsonFlag, emit, say

database = typer.Typer(help="The appliance's database.", no_args_is_help=True)


@database.callback()
def _group() -> None:
    """The appliance's database."""


@database.command()
def migrate(as_json: JsonFlag = False) -> None:
    """Bring the tables to this version. Doing it again changes nothing."""
    from appliance.store import engine, migrations

    revision = migrations.migrate(engine.connect(settings.load().require_dsn()))
    if as_json:
        emit({"revision": revision})
    else:
        say(f"The database is at revision {revision}.")
