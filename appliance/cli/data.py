"""``appliance db ...``: the database of this box."""

from __future__ import annotations

from typing import Annotated

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


@database.command()
def reader(
    role: Annotated[str, typer.Argument(help="The role's name, for Grafana that of its user.")] = "grafana",
) -> None:
    """Print the SQL that makes a role a reader of the views in `report`, for psql as the database's superuser."""
    from appliance.store import report

    say(report.reader_sql(role))
